"""Give events their place, by hand."""

from typing import Any

from events_app.log import sequencing
from orchestrator_site.management.base import ServiceCommand


class Command(ServiceCommand):
    """See `help`."""

    help = (
        "Give every committed event its place in the order that readers see, and bring the counts of /stats up to "
        "date. Readers do it by themselves; run it after a bulk load."
    )

    def perform(self, **options: Any) -> dict[str, Any]:
        """Number."""
        return {"numbered": sequencing.number_events(), "head": sequencing.head()}

    def text(self, answer: dict[str, Any]) -> str:
        """Say how many."""
        return f"{answer['numbered']} event(s) numbered; the log has {answer['head']}"
