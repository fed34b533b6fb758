"""Manage webhook subscriptions: who is sent which events."""

import base64
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import F, Min

from events_app import event_types
from events_app.errors import SwitchedOff, TooManySubscriptions, UnknownEvent, UnknownSubscription
from events_app.hooks import keeps_position
from events_app.log import reading, sequencing
from events_app.models import Delivery, DeliveryQuerySet, Event, Format, Position, Subscription
from events_app.services import change, record
from events_app.webhooks.signing import PREFIX, checked_secret
from events_app.webhooks.url_policy import PORTS, Reach, ensure_may_subscribe, target_of
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import Invalid
from orchestrator_site.infra.cached_rows import CachedRows

ROTATION = timedelta(hours=24)  # in which the old secret signs too

anyone_subscribed = CachedRows(
    ["events_app.Subscription"], lambda: Subscription.objects.active().exists()
)


def reach() -> Reach:
    """Return what webhooks may reach: on a development server also http."""
    ports = PORTS if settings.DEVELOPMENT else {"https": PORTS["https"]}
    return Reach(settings.WEBHOOK_ALLOW_NETS, frozenset(ports.items()))


def new_secret() -> str:
    """Return a new secret: 32 random bytes as Standard Webhooks writes them."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


@change
def subscribe(
    *,
    url: str,
    types: list[str],
    by: Actor,
    now: datetime,
    format: str = Format.JSON,
    description: str = "",
    secret: str = "",
) -> Subscription:
    """Send events to a URL from now on. secret: one of the caller's, made if empty.

    Raise BadUrl, BadSecret or TooManySubscriptions.
    """
    ensure_may_subscribe(url, reach())
    if Subscription.objects.count() >= settings.WEBHOOK_MAX_SUBSCRIPTIONS:
        raise TooManySubscriptions
    head = sequencing.head()
    subscription = Subscription.objects.create(
        url=url,
        types=types,
        format=format,
        description=description,
        secret=checked_secret(secret) if secret else new_secret(),
        position=head,
        mark=head.mark,
        created_by=by.name,
        created_at=now,
    )
    record_event(subscription, event_types.SUBSCRIPTION_CREATED, by=by, now=now, types=types)
    return subscription


def find(subscription_id: str, *, lock: bool = False) -> Subscription:
    """Return a subscription; raise UnknownSubscription."""
    rows = Subscription.objects.select_for_update() if lock else Subscription.objects
    subscription = rows.filter(subscription_id=subscription_id).first()
    if subscription is None:
        raise UnknownSubscription(f"There is no subscription {subscription_id}.")
    return subscription


def newest(limit: int = 1000) -> list[Subscription]:
    """Return the subscriptions, the newest first."""
    return list(Subscription.objects.order_by("-pk")[:limit])


def deliveries(
    *, subscription_id: str, limit: int, below: int | None = None, status: str = ""
) -> tuple[list[Delivery], int | None]:
    """Return deliveries, newest first, and the `below` of the next page, None on the last.

    below: a row number. Raise UnknownSubscription.
    """
    page: DeliveryQuerySet = find(subscription_id).deliveries.order_by("-pk")
    page = page.filter(status=status) if status else page
    rows = list((page if below is None else page.filter(pk__lt=below))[: limit + 1])
    return rows[:limit], rows[limit - 1].pk if len(rows) > limit else None


@change
def delete(*, subscription_id: str, by: Actor, now: datetime) -> None:
    """Forget a subscription and what was on its way. Raise UnknownSubscription."""
    subscription = find(subscription_id, lock=True)
    rows = Delivery.objects.filter(subscription=subscription)
    rows._raw_delete(rows.db)  # nothing refers to them: one statement, however many there are
    record_event(subscription, event_types.SUBSCRIPTION_DELETED, by=by, now=now)
    subscription.delete()


@change
def rotate(*, subscription_id: str, by: Actor, now: datetime) -> Subscription:
    """Make a new secret; the old one signs beside it for a day. Raise UnknownSubscription."""
    subscription = find(subscription_id, lock=True)
    subscription.previous_secret, subscription.secret = subscription.secret, new_secret()
    subscription.previous_secret_until = now + ROTATION
    subscription.save(update_fields=["secret", "previous_secret", "previous_secret_until"])
    record_event(subscription, event_types.SUBSCRIPTION_ROTATED, by=by, now=now)
    return subscription


@change
def switch_on(*, subscription_id: str, by: Actor, now: datetime) -> Subscription:
    """Go on where it stopped, as far as the log is kept. Raise UnknownSubscription."""
    subscription = find(subscription_id, lock=True)
    if subscription.active:
        return subscription
    subscription.active, subscription.disabled_at, subscription.disabled_reason = True, None, ""
    subscription.failing_since, subscription.dead_in_a_row = None, 0
    subscription.place = max(subscription.place, Position(sequencing.bounds()[0]))
    subscription.save()
    record_event(subscription, event_types.SUBSCRIPTION_ENABLED, by=by, now=now)
    return subscription


@change
def switch_off(*, subscription_id: str, by: Actor, now: datetime, reason: str) -> Subscription:
    """Send nothing until it is switched on again; deliveries wait. Raise UnknownSubscription."""
    subscription = find(subscription_id, lock=True)
    if not subscription.active:
        return subscription
    subscription.active, subscription.disabled_at = False, now
    subscription.disabled_reason = reason = reason[:200]
    subscription.save(update_fields=["active", "disabled_at", "disabled_reason"])
    record_event(subscription, event_types.SUBSCRIPTION_DISABLED, by=by, now=now, reason=reason)
    return subscription


@change
def resend(
    *,
    subscription_id: str,
    by: Actor,
    now: datetime,
    event_id: str = "",
    since: datetime | None = None,
) -> int:
    """Send again one event, or all since a time; return how many known deliveries start anew.

    Events since the time that the subscription never had come on top: the log is read again.
    Raise UnknownSubscription, SwitchedOff, UnknownEvent, CursorExpired, or Invalid unless one of
    the two is given.
    """
    if bool(event_id) == bool(since):
        field = "since" if event_id else "event_id"
        raise Invalid("Name one event, or a time since which to send again.", field=field)
    subscription = find(subscription_id, lock=True)
    if not subscription.active:
        raise SwitchedOff
    if since:
        count, facts = resend_since(subscription, since, now=now), {"since": since.isoformat()}
    else:
        count, facts = resend_one(subscription, event_id, now=now), {"event_id": event_id}
    record_event(
        subscription, event_types.SUBSCRIPTION_RESENT, by=by, now=now, deliveries=count, **facts
    )
    return count


def resend_one(subscription: Subscription, event_id: str, *, now: datetime) -> int:
    """Send one event again, or for the first time."""
    event = Event.objects.filter(event_id=event_id).first()
    if event is None:
        raise UnknownEvent(f"There is no event {event_id}, or it is no longer kept.")
    delivery = new_delivery(subscription, event, now=now)
    Delivery.objects.bulk_create([delivery], ignore_conflicts=True)
    known = Delivery.objects.filter(subscription=subscription, event_id=event_id)
    return known.start_anew(now)


def resend_since(subscription: Subscription, since: datetime, *, now: datetime) -> int:
    """Start the deliveries since a time anew, and read the log again from there."""
    position = reading.position_at(since)
    subscription.place = min(subscription.place, position)
    subscription.save(update_fields=["position", "mark"])
    known = Delivery.objects.filter(subscription=subscription, position__gt=position)
    return known.start_anew(now)


def new_delivery(subscription: Subscription, event: Event, *, now: datetime) -> Delivery:
    """Return a delivery that is due, not yet stored."""
    return Delivery(
        subscription=subscription,
        event_id=event.event_id,
        event_type=event.event_type,
        position=event.place,
        next_attempt_at=now,
        created_at=now,
    )


@keeps_position
def oldest_needed() -> int | None:
    """Return the position after which webhooks still need the log, None if they need nothing."""
    active = Subscription.objects.active()
    unsent = Delivery.objects.pending().filter(subscription__active=True)
    read = active.aggregate(least=Min("position"))["least"]
    # A sum, or the planner walks all deliveries by position: few are pending.
    first = unsent.aggregate(least=Min(F("position") + 0))["least"]
    return min((place for place in (read, first and first - 1) if place is not None), default=None)


def record_event(
    subscription: Subscription, event_type: str, *, by: Actor, now: datetime, **facts: Any
) -> None:
    """Record what happened to a subscription. Of the URL only the host: the rest may be secret."""
    host = target_of(subscription.url).host
    payload = {"subscription_id": subscription.subscription_id, "host": host, **facts}
    record(event_type=event_type, by=by, now=now, payload=payload)
