"""Where events, consumers and webhooks answer."""

from django.urls import path

from events_app.consumers.views import ConsumerViewSet
from events_app.views import EventViewSet
from events_app.webhooks.views import SubscriptionViewSet

CONSUMER = "events/consumers/<public_id:name>"
SUBSCRIPTION = "events/subscriptions/<public_id:subscription_id>"

urlpatterns = [
    path("events", EventViewSet.as_view({"get": "list"})),
    path("events/publish", EventViewSet.as_view({"post": "publish"})),
    path("events/publish/batch", EventViewSet.as_view({"post": "publish_batch"})),
    path("events/stream", EventViewSet.as_view({"get": "stream"})),
    path("events/consumers", ConsumerViewSet.as_view({"get": "list", "post": "create"})),
    path(CONSUMER, ConsumerViewSet.as_view({"get": "retrieve", "delete": "destroy"})),
    path(f"{CONSUMER}/fetch", ConsumerViewSet.as_view({"post": "fetch"})),
    path(f"{CONSUMER}/ack", ConsumerViewSet.as_view({"post": "ack"})),
    path(f"{CONSUMER}/parked", ConsumerViewSet.as_view({"get": "parked"})),
    path(f"{CONSUMER}/replay", ConsumerViewSet.as_view({"post": "replay"})),
    path("events/subscriptions", SubscriptionViewSet.as_view({"get": "list", "post": "create"})),
    path(SUBSCRIPTION, SubscriptionViewSet.as_view({"get": "retrieve", "delete": "destroy"})),
    path(f"{SUBSCRIPTION}/rotate", SubscriptionViewSet.as_view({"post": "rotate"})),
    path(f"{SUBSCRIPTION}/enable", SubscriptionViewSet.as_view({"post": "enable"})),
    path(f"{SUBSCRIPTION}/deliveries", SubscriptionViewSet.as_view({"get": "deliveries"})),
    path(f"{SUBSCRIPTION}/resend", SubscriptionViewSet.as_view({"post": "resend"})),
]
