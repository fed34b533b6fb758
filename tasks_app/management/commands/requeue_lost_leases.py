"""The sweep over leases that ran out, by hand."""

from typing import Any

from orchestrator_site.core import times
from orchestrator_site.management.base import ServiceCommand
from tasks_app.services import leases


class Command(ServiceCommand):
    """See `help`."""

    help = (
        "Take back every running task whose lease has run out: it waits for another attempt, or fails after its "
        "last one. The service does it by itself; run it to do so at once."
    )

    def perform(self, **options: Any) -> dict[str, Any]:
        """Sweep."""
        return {"taken_back": leases.requeue_lost_leases(now=times.now())}

    def text(self, answer: dict[str, Any]) -> str:
        """Say how many."""
        return f"{answer['taken_back']} task(s) taken back"
