"""The sweep over dependents that have not heard that a task has ended, by hand."""

from typing import Any

from orchestrator_site.core import times
from orchestrator_site.management.base import ServiceCommand
from tasks_app.services import dependencies


class Command(ServiceCommand):
    """See `help`."""

    help = (
        "Free, or fail, the tasks that wait for one that has ended. The service does it by itself, the first 200 at "
        "once; run it to settle the rest now."
    )

    def perform(self, **options: Any) -> dict[str, Any]:
        """Sweep."""
        return {"settled": dependencies.settle_waiting(clock=times.now)}

    def text(self, answer: dict[str, Any]) -> str:
        """Say how many."""
        return f"{answer['settled']} dependent(s) told"
