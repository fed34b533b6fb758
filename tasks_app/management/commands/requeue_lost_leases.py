from typing import Any

from orchestrator_site.core import times
from orchestrator_site.management.base import SweepCommand
from tasks_app.services import leases


class Command(SweepCommand):
    help = (
        "Take back every running task whose lease has run out: it waits for another attempt, or "
        "fails after its last one. The service does it by itself; run it to do so at once."
    )
    message = "{taken_back} task(s) taken back"

    def perform(self, **options: Any) -> dict[str, Any]:
        return {"taken_back": leases.requeue_lost_leases(now=times.now())}
