"""Where events answer."""

from django.urls import path

from events_app.views import EventViewSet

urlpatterns = [path("events/publish", EventViewSet.as_view({"post": "publish"}))]
