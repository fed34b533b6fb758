from typing import Any

from events_app.webhooks import sender
from orchestrator_site.core import times
from orchestrator_site.management.base import SweepCommand


class Command(SweepCommand):
    help = (
        "Look through new events for those that subscribers want, and make one attempt at every "
        "delivery that is due. The service does it by itself; run it to do so at once."
    )
    message = "{attempted} delivery attempt(s) made"

    def perform(self, **options: Any) -> dict[str, Any]:
        return {"attempted": sender.deliver(clock=times.now)}
