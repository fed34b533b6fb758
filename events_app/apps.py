"""The events app."""

from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "events_app"
    verbose_name = "Events"

    def ready(self) -> None:
        from events_app.webhooks import trigger  # noqa: F401 - registers hooks
