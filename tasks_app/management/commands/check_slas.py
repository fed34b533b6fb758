"""The sweep over deadlines, by hand."""

from typing import Any

from orchestrator_site.core import times
from orchestrator_site.management.base import ServiceCommand
from tasks_app.services import sla


class Command(ServiceCommand):
    """See `help`."""

    help = (
        "Warn of every open task that has used 80 % of its SLA target, and record a violation for every one past "
        "its deadline. Each is recorded once, however often this runs; the service does it by itself."
    )

    def perform(self, **options: Any) -> dict[str, Any]:
        """Sweep."""
        warnings, violations = sla.check_slas(now=times.now())
        return {"warnings": warnings, "violations": violations}

    def text(self, answer: dict[str, Any]) -> str:
        """Say how many."""
        return (
            f"{answer['warnings']} SLA warning(s) and {answer['violations']} violation(s) recorded"
        )
