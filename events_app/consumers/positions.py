"""List and reset consumers and webhooks that cannot go on after a restore from an older copy."""

from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import OuterRef, Subquery

from events_app.consumers.services import find, remove
from events_app.event_types import CONSUMER_RESET, SUBSCRIPTION_RESET
from events_app.log import sequencing
from events_app.models import Consumer, Event, Subscription
from events_app.services import change, record
from events_app.webhooks import services as webhooks
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import Invalid


class Reader(NamedTuple):
    """A named consumer or a webhook, and how far it has read. kind: consumer or subscription."""

    kind: str
    name: str
    owner: str
    position: int


def ahead() -> tuple[int, list[Reader]]:
    """Return the head of the log, and the readers that have read what is not in it."""
    head = sequencing.head()
    consumers = ahead_of(head, Consumer.objects.order_by("name"))
    hooks = ahead_of(head, Subscription.objects.order_by("pk"))
    return head, [
        *(Reader("consumer", row.name, row.owner, row.position) for row in consumers),
        *(
            Reader("subscription", row.subscription_id, row.created_by, row.position)
            for row in hooks
        ),
    ]


def ahead_of(head: int, rows: Any) -> list[Any]:
    """Return the rows that the log does not reach, or has another event for where they stand.

    rows: consumers or subscriptions; what they were handed, or are to be sent, counts too.
    """
    event = Event.objects.filter(position=OuterRef("position")).values("event_id")
    handed = set(rows.filter(deliveries__position__gt=head).values_list("pk", flat=True))
    return [
        row
        for row in rows.annotate(event_id=Subquery(event))
        if row.position > head or row.pk in handed or not row.place.is_of(row.event_id)
    ]


@change
def reset(*, name: str, to: str, by: Actor, now: datetime) -> Reader:
    """Have a reader go on after a position; deliveries ahead of the log are dropped.

    name: of a consumer, or the id of a subscription. to: `head`, `oldest`, or a position.
    by: an administrator. Raise UnknownConsumer, UnknownSubscription or Invalid.
    """
    head = sequencing.head()
    position = place(to, head)
    if name.startswith("sub_"):
        subscription = webhooks.find(name, lock=True)
        facts = move(subscription, subscription.deliveries.filter(position__gt=head), position)
        webhooks.record_event(subscription, SUBSCRIPTION_RESET, by=by, now=now, **facts)
        return Reader("subscription", name, subscription.created_by, position)
    consumer = find(name, by=by, lock=True)
    facts = move(consumer, consumer.deliveries.filter(position__gt=min(position, head)), position)
    record(event_type=CONSUMER_RESET, by=by, now=now, payload={"name": name} | facts)
    return Reader("consumer", name, consumer.owner, position)


def place(to: str, head: int) -> int:
    """Return the position that `to` names; raise Invalid if events after it are not kept."""
    oldest = sequencing.bounds()[0]
    named = {"head": head, "oldest": oldest}
    position = named.get(to, int(to) if to.isascii() and to.isdigit() and len(to) < 19 else -1)
    if not oldest <= position <= head:
        raise Invalid(f"Say head, oldest, or a position from {oldest} to {head}.", field="to")
    return position


def move(reader: Any, dropped: Any, position: int) -> dict[str, int]:
    """Set the position of a locked row and drop deliveries; return the payload of the event."""
    before, reader.place = reader.position, sequencing.marked(position)
    reader.save(update_fields=["position", "mark"])
    return {"before": before, "position": position, "dropped": remove(dropped)}
