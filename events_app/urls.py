"""Where events answer."""

from django.urls import include, path

from events_app.consumers.views import ConsumerViewSet
from events_app.views import EventViewSet

CONSUMER = "events/consumers/<public_id:name>"

urlpatterns = [
    path("events", EventViewSet.as_view({"get": "list"})),
    path("events/publish", EventViewSet.as_view({"post": "publish"})),
    path("events/stream", EventViewSet.as_view({"get": "stream"})),
    path("events/consumers", ConsumerViewSet.as_view({"get": "list", "post": "create"})),
    path(CONSUMER, ConsumerViewSet.as_view({"get": "retrieve", "delete": "destroy"})),
    path(f"{CONSUMER}/fetch", ConsumerViewSet.as_view({"post": "fetch"})),
    path(f"{CONSUMER}/ack", ConsumerViewSet.as_view({"post": "ack"})),
    path(f"{CONSUMER}/parked", ConsumerViewSet.as_view({"get": "parked"})),
    path(f"{CONSUMER}/replay", ConsumerViewSet.as_view({"post": "replay"})),
    path("", include("events_app.webhooks.urls")),
]
