"""Write down which deliveries each subscription needs of the log."""

from datetime import datetime

from django.db import transaction
from django.db.models import Subquery

from events_app.errors import CursorAhead, CursorExpired
from events_app.log import reading, sequencing
from events_app.models import (
    Delivery,
    Ledger,
    Position,
    Subscription,
    SubscriptionQuerySet,
    mark_of,
)
from events_app.rules import matches
from events_app.webhooks import services as webhooks
from orchestrator_site.core.actors import SYSTEM

PAGE = 500  # events looked through in one transaction


PAGES = 20  # in one run, so that whoever catches up keeps nobody waiting


def fan_out(*, now: datetime) -> int:
    """Look through the log for every active subscription, in order; return how many deliveries that made."""
    sequencing.number_events()
    made, head = 0, Ledger.objects.values("head")
    for _ in range(PAGES):
        elsewhere = Subscription.objects.active().exclude(position=Subquery(head))
        first = elsewhere.order_by("-position").first()  # who is far behind holds up nobody
        if first is None:
            break
        made += look_through(first.place, now=now)
    return made


def look_through(place: Position, *, now: datetime) -> int:
    """Make the deliveries of one page for all subscriptions at its beginning, and move them on."""
    here = Subscription.objects.active().filter(position=place, mark=place.mark).order_by("pk")
    try:
        events, end = reading.page(after=place, limit=PAGE)
    except CursorExpired:
        return give_up(here, "Events it had not been sent yet were pruned.", now=now)
    except CursorAhead:
        return give_up(here, "The log was replaced by an older copy behind its place.", now=now)
    with transaction.atomic():
        found = list(here.select_for_update())
        wanted = [
            webhooks.new_delivery(subscription, event, now=now)
            for event in events
            for subscription in found
            if matches(event.event_type, subscription.types)
        ]
        Delivery.objects.bulk_create(wanted, ignore_conflicts=True)
        Subscription.objects.filter(pk__in=[subscription.pk for subscription in found]).update(
            position=end, mark=mark_of(end)
        )
    return len(wanted)


def give_up(subscriptions: SubscriptionQuerySet, reason: str, *, now: datetime) -> int:
    """Switch off subscriptions that cannot go on: nothing is passed over in silence."""
    for subscription in subscriptions:
        webhooks.switch_off(
            subscription_id=subscription.subscription_id, by=SYSTEM, now=now, reason=reason
        )
    return 0


def forget(*, now: datetime) -> int:
    """Remove settled deliveries of events that are no longer kept, and secrets that no longer sign."""
    Subscription.objects.filter(previous_secret_until__lte=now).update(
        previous_secret="", previous_secret_until=None
    )
    pruned_to, _ = sequencing.bounds()
    rows = Delivery.objects.exclude(status=Delivery.Status.PENDING).filter(position__lte=pruned_to)
    return rows._raw_delete(rows.db)
