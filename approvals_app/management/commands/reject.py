from typing import Any

from approvals_app import services
from approvals_app.management.decision import DecisionCommand, as_answer, decision
from orchestrator_site.core import times


class Command(DecisionCommand):
    help = (
        "Reject a pending request, in the name of a console account. "
        "Its task is cancelled with the reason."
    )

    def perform(self, **options: Any) -> dict[str, Any]:
        approval = services.reject(**decision(options), now=times.now())
        return as_answer(approval)
