from typing import Any

from orchestrator_site.core import times
from orchestrator_site.management.base import SweepCommand
from tasks_app.services import agents as agent_services


class Command(SweepCommand):
    help = (
        "Mark every agent that gave no sign of life for longer than its row allows "
        "(silent_after), once. `route_pending` then moves its waiting tasks on. The service does "
        "both by itself."
    )
    message = "{silent} agent(s) fell silent"

    def perform(self, **options: Any) -> dict[str, Any]:
        return {"silent": agent_services.mark_stale_agents(now=times.now())}
