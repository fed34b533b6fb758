from typing import Any

from approvals_app.services import transitions
from orchestrator_site.core import times
from orchestrator_site.management.base import SweepCommand


class Command(SweepCommand):
    help = (
        "End every pending request whose time has run out; its task is cancelled. "
        "The service does it by itself; run it to do so at once."
    )
    message = "{expired} request(s) expired"

    def perform(self, **options: Any) -> dict[str, Any]:
        return {"expired": transitions.expire_approvals(now=times.now())}
