"""A decision at the shell: who decides, and why."""

from typing import Any

from django.core.management.base import CommandError

from approvals_app.models import Status
from approvals_app.services.decisions import Decision, decide
from approvals_app.services.transitions import facts_of
from orchestrator_site.auth.accounts import may_decide
from orchestrator_site.core import times
from orchestrator_site.core.actors import Role
from orchestrator_site.management.base import ServiceCommand


class DecisionCommand(ServiceCommand):
    """Approve or reject in the name of a console account."""

    verdict: Status
    account_help = "Who decides: a staff account of the console with the permission to decide."
    needs_account = True
    staff_role = Role.AGENT
    message = "{approval_id} {status} by {decided_by}"
    arguments = {
        "approval_id": {"help": "Which request, as `list_pending` shows it."},
        "--reason": {"default": "", "help": "Why; kept with the decision."},
    }

    def perform(self, **options: Any) -> dict[str, Any]:
        approval_id, reason = options["approval_id"], options["reason"]
        if len(reason) > 2000 or "\0" in reason:
            raise CommandError("--reason must be at most 2000 characters.")
        if not may_decide(options["username"]):
            sentence = "does not have the permission to decide approvals."
            raise CommandError(f"{options['username']} {sentence}")
        decision = Decision(approval_id, self.verdict, options["by"], times.now(), reason)
        approval = decide(decision)
        return facts_of(approval) | ({"repeated": True} if approval.repeated else {})
