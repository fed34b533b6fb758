"""Make a delivery for each subscription that an event matches."""

from datetime import datetime

from django.db import transaction
from django.db.models import Subquery

from events_app.errors import CursorAhead, CursorExpired
from events_app.log import reading, sequencing
from events_app.models import Delivery, Ledger, Subscription, SubscriptionQuerySet
from events_app.rules import matches
from events_app.webhooks import services as webhooks
from orchestrator_site.core.actors import SYSTEM

PAGE = 500  # events read in one transaction
PAGES = 20  # in one run, so that whoever catches up keeps nobody waiting


def fan_out(*, now: datetime) -> int:
    """Read the log for every active subscription; return how many deliveries that makes."""
    created, head = 0, Ledger.objects.values("head")
    for _ in range(PAGES):
        behind = Subscription.objects.active().exclude(position=Subquery(head))
        first = behind.order_by("-position").first()  # one far behind does not hold up the others
        if first is None:
            break
        created += read_page(first, now=now)
    return created


def read_page(first: Subscription, *, now: datetime) -> int:
    """Make the deliveries of the page after a subscription's place; return how many.

    All subscriptions that have the same place get theirs, and are moved on.
    """
    active = Subscription.objects.active().order_by("pk")
    here = active.filter(position=first.position, mark=first.mark)
    try:
        events, end = reading.page(after=first.place, limit=PAGE)
    except CursorExpired:
        return give_up(here, "Events it had not been sent yet were pruned.", now=now)
    except CursorAhead:
        return give_up(here, "The log was replaced by an older copy behind its place.", now=now)
    with transaction.atomic():
        subscriptions = list(here.select_for_update())
        deliveries = [
            webhooks.new_delivery(subscription, event, now=now)
            for event in events
            for subscription in subscriptions
            if matches(event.event_type, subscription.types)
        ]
        Delivery.objects.bulk_create(deliveries, ignore_conflicts=True)
        rows = Subscription.objects.filter(pk__in=[one.pk for one in subscriptions])
        rows.update(position=end, mark=end.mark)
    return len(deliveries)


def give_up(subscriptions: SubscriptionQuerySet, reason: str, *, now: datetime) -> int:
    """Switch off subscriptions that cannot go on, so that no event is left out unnoticed."""
    for public_id in list(subscriptions.values_list("subscription_id", flat=True)):
        webhooks.switch_off(subscription_id=public_id, by=SYSTEM, now=now, reason=reason)
    return 0


def forget(*, now: datetime) -> int:
    """Delete settled deliveries of pruned events, and secrets that no longer sign.

    Return how many deliveries.
    """
    replaced = Subscription.objects.filter(previous_secret_until__lte=now)
    replaced.update(previous_secret="", previous_secret_until=None)
    pruned_to, _ = sequencing.bounds()
    rows = Delivery.objects.exclude(status=Delivery.Status.PENDING).filter(position__lte=pruned_to)
    return rows._raw_delete(rows.db)
