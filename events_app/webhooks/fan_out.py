"""Write down which deliveries each subscription needs of the log."""

from datetime import datetime

from django.db import transaction

from events_app.log import reading, sequencing
from events_app.models import Delivery, Subscription
from events_app.rules import matches
from events_app.webhooks import services as webhooks
from orchestrator_site.core.actors import SYSTEM

PAGE = 500  # events looked through in one transaction


PAGES = 20  # in one run, so that whoever catches up keeps nobody waiting


def fan_out(*, now: datetime) -> int:
    """Look through the log for every active subscription, in order; return how many deliveries that made."""
    end, made = sequencing.head(), 0
    for _ in range(PAGES):
        behind = Subscription.objects.active().filter(position__lt=end).order_by("-position")
        position = behind.values_list(
            "position", flat=True
        ).first()  # those far behind do not hold up the others
        if position is None:
            break
        made += look_through(position, now=now)
    return made


def look_through(position: int, *, now: datetime) -> int:
    """Make the deliveries of one page, for all subscriptions that stand at its beginning, and move them behind it."""
    try:
        events, end = reading.page(after=position, limit=PAGE)
    except reading.CursorExpired:
        return give_up_place(position, now=now)
    with transaction.atomic():
        here = (
            Subscription.objects.select_for_update()
            .active()
            .filter(position=position)
            .order_by("pk")
        )
        found = list(here)
        wanted = [
            webhooks.new_delivery(subscription, event, now=now)
            for event in events
            for subscription in found
            if matches(event.event_type, subscription.types)
        ]
        Delivery.objects.bulk_create(wanted, ignore_conflicts=True)
        Subscription.objects.filter(pk__in=[subscription.pk for subscription in found]).update(
            position=end
        )
    return len(wanted)


def give_up_place(position: int, *, now: datetime) -> int:
    """Switch off what stands where the log is no longer kept: nothing is passed over in silence."""
    for subscription in Subscription.objects.active().filter(position=position):
        reason = "Events it had not been sent yet were pruned."
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
