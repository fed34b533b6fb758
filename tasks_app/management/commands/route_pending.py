"""The sweep over tasks without an able agent, by hand."""

from typing import Any

from orchestrator_site.core import times
from orchestrator_site.management.base import ServiceCommand
from tasks_app.services import routing


class Command(ServiceCommand):
    """See `help`."""

    help = (
        "Give every waiting task an agent that can take it now: those that have none, and those whose agent was "
        "switched off or fell silent. The service does it by itself; run it to do so at once."
    )

    def perform(self, **options: Any) -> dict[str, Any]:
        """Sweep."""
        return {"routed": routing.route_pending(now=times.now())}

    def text(self, answer: dict[str, Any]) -> str:
        """Say how many."""
        return f"{answer['routed']} task(s) routed"
