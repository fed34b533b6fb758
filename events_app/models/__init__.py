"""The tables of the log, its consumers and webhooks."""
# ruff: noqa: F401 - imported for others

from events_app.models.consumer import Consumer, ConsumerDelivery
from events_app.models.event import Event, Ledger, Origin, new_event_id
from events_app.models.position import Position
from events_app.models.webhook import (
    Delivery,
    DeliveryQuerySet,
    Format,
    Subscription,
    SubscriptionQuerySet,
    new_subscription_id,
)
