from typing import Any

from orchestrator_site.core import times
from orchestrator_site.management.base import SweepCommand
from tasks_app.services import routing


class Command(SweepCommand):
    help = (
        "Give every waiting task an agent that can take it now: those that have none, and those "
        "whose agent was switched off or fell silent. The service does it by itself; run it to do "
        "so at once."
    )
    message = "{routed} task(s) routed"

    def perform(self, **options: Any) -> dict[str, Any]:
        return {"routed": routing.route_pending(now=times.now())}
