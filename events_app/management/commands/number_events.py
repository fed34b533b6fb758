from typing import Any

from events_app.log import sequencing
from orchestrator_site.management.base import SweepCommand


class Command(SweepCommand):
    help = (
        "Give every committed event its place in the order that readers see, and bring the counts "
        "of /stats up to date. Readers do it by themselves; run it after a bulk load."
    )
    said = "{numbered} event(s) numbered; the log has {head}"

    def perform(self, **options: Any) -> dict[str, Any]:
        return {"numbered": sequencing.number_events(), "head": sequencing.head()}
