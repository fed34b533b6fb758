"""The events app."""

from django.apps import AppConfig


class EventsConfig(AppConfig):
    """Names the app."""

    name = "events_app"
    verbose_name = "Events"
