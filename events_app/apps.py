"""The events app."""

from django.apps import AppConfig


class EventsConfig(AppConfig):
    """Loads the webhooks, which register hooks."""

    name = "events_app"
    verbose_name = "Events"

    def ready(self) -> None:
        """Import what registers hooks."""
        from events_app.webhooks import trigger  # noqa: F401
