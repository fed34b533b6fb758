from typing import Any

from orchestrator_site.core import times
from orchestrator_site.management.base import SweepCommand
from tasks_app.services import dependencies


class Command(SweepCommand):
    help = (
        "Free, or fail, the tasks that wait for one that has ended. The service does it by itself, "
        "the first 200 at once; run it to settle the rest now."
    )
    message = "{settled} dependent(s) told"

    def perform(self, **options: Any) -> dict[str, Any]:
        return {"settled": dependencies.settle_waiting(clock=times.now)}
