"""The events app."""

from django.apps import AppConfig


class EventsConfig(AppConfig):
    """Names the app, and has webhooks hear of new events and keep what they still need."""

    name = "events_app"
    verbose_name = "Events"

    def ready(self) -> None:
        """Have webhooks hear of new events, and keep those they have not sent."""
        from events_app.log import retention
        from events_app.webhooks import services as webhooks
        from events_app.webhooks import trigger
        from orchestrator_site.infra import wakeups

        wakeups.listen(trigger.trigger.hear)
        retention.keepers.append(webhooks.oldest_needed)
