from typing import Any

from orchestrator_site.core import times
from orchestrator_site.management.base import SweepCommand
from tasks_app.services import sla


class Command(SweepCommand):
    help = (
        "Warn of every open task that has used 80 % of its SLA target, and record a violation for "
        "every one past its deadline. Each is recorded once, however often this runs; the service "
        "does it by itself."
    )
    message = "{warnings} SLA warning(s) and {violations} violation(s) recorded"

    def perform(self, **options: Any) -> dict[str, Any]:
        warnings, violations = sla.check_slas(now=times.now())
        return {"warnings": warnings, "violations": violations}
