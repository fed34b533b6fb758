"""The sweep over silent agents, by hand."""

from typing import Any

from orchestrator_site.core import times
from orchestrator_site.management.base import ServiceCommand
from tasks_app.services import agents as agent_services


class Command(ServiceCommand):
    """See `help`."""

    help = (
        "Mark every agent that gave no sign of life for longer than its row allows (silent_after), once. "
        "`route_pending` then moves its waiting tasks on. The service does both by itself."
    )

    def perform(self, **options: Any) -> dict[str, Any]:
        """Sweep."""
        return {"silent": agent_services.mark_stale_agents(now=times.now())}

    def text(self, answer: dict[str, Any]) -> str:
        """Say how many."""
        return f"{answer['silent']} agent(s) fell silent"
