"""The sweep over webhooks that are due, by hand."""

from typing import Any

from events_app.webhooks import sender
from orchestrator_site.core import times
from orchestrator_site.management.base import ServiceCommand


class Command(ServiceCommand):
    """See `help`."""

    help = (
        "Look through new events for those that subscribers want, and make one attempt at every delivery that is due. "
        "The service does it by itself; run it to do so at once."
    )

    def perform(self, **options: Any) -> dict[str, Any]:
        """Sweep."""
        return {"attempted": sender.deliver(clock=times.now)}

    def text(self, answer: dict[str, Any]) -> str:
        """Say how many."""
        return f"{answer['attempted']} delivery attempt(s) made"
