"""The tables of the log, its consumers and webhooks."""

from events_app.models.consumer import (
    Consumer,
    ConsumerDelivery,
    ConsumerDeliveryQuerySet,
    ConsumerQuerySet,
)
from events_app.models.event import Event, EventQuerySet, Ledger, Origin, new_event_id
from events_app.models.position import Position, mark_of
from events_app.models.webhook import (
    Delivery,
    DeliveryQuerySet,
    Format,
    Subscription,
    SubscriptionQuerySet,
    new_subscription_id,
)

__all__ = [
    "Consumer",
    "ConsumerDelivery",
    "ConsumerDeliveryQuerySet",
    "ConsumerQuerySet",
    "Delivery",
    "DeliveryQuerySet",
    "Event",
    "EventQuerySet",
    "Format",
    "Ledger",
    "Origin",
    "Position",
    "Subscription",
    "SubscriptionQuerySet",
    "mark_of",
    "new_event_id",
    "new_subscription_id",
]
