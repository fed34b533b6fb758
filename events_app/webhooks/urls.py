"""Where subscriptions answer."""

from django.urls import path

from events_app.webhooks.views import SubscriptionViewSet

ONE = "events/subscriptions/<public_id:subscription_id>"

urlpatterns = [
    path("events/subscriptions", SubscriptionViewSet.as_view({"get": "list", "post": "create"})),
    path(ONE, SubscriptionViewSet.as_view({"get": "retrieve", "delete": "destroy"})),
    path(f"{ONE}/rotate", SubscriptionViewSet.as_view({"post": "rotate"})),
    path(f"{ONE}/enable", SubscriptionViewSet.as_view({"post": "enable"})),
    path(f"{ONE}/deliveries", SubscriptionViewSet.as_view({"get": "deliveries"})),
    path(f"{ONE}/resend", SubscriptionViewSet.as_view({"post": "resend"})),
]
