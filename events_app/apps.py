"""The events app."""

from django.apps import AppConfig


class EventsConfig(AppConfig):
    """Names the app, and has webhooks hear of new events."""

    name = "events_app"
    verbose_name = "Events"

    def ready(self) -> None:
        """Have webhooks hear of new events."""
        from events_app import nudging, wakeups

        wakeups.listen(nudging.nudger.hear)
