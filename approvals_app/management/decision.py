"""A decision at the shell: who decides, and what is said of it."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from approvals_app.models import Status
from approvals_app.services.decisions import Decision, decide
from approvals_app.services.transitions import facts_of
from orchestrator_site.auth.accounts import DECIDE, find_account
from orchestrator_site.core import times
from orchestrator_site.core.actors import Actor, Assurance, Door, Role
from orchestrator_site.management.base import ServiceCommand


class DecisionCommand(ServiceCommand):
    """Approve or reject in the name of a console account."""

    verdict: Status
    said = "{approval_id} {status} by {decided_by}"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("approval_id", help="Which request, as `list_pending` shows it.")
        parser.add_argument(
            "--as",
            dest="username",
            required=True,
            metavar="USERNAME",
            help="Who decides: a staff account of the console with the permission to decide.",
        )
        parser.add_argument("--reason", default="", help="Why; kept with the decision.")
        super().add_arguments(parser)

    def perform(self, **options: Any) -> dict[str, Any]:
        approval_id, reason = options["approval_id"], options["reason"]
        if len(reason) > 2000 or "\0" in reason:
            raise CommandError("--reason must be at most 2000 characters.")
        by = decider(options["username"])
        approval = decide(Decision(approval_id, self.verdict, by, times.now(), reason))
        answer = facts_of(approval)
        return answer | ({"repeated": True} if approval.repeated else {})


def decider(username: str) -> Actor:
    """Return the account as who decides; raise CommandError unless it may."""
    account = find_account(username)
    if account is None:
        raise CommandError(f"There is no active staff account {username}.")
    if not account.has_perm(DECIDE):
        raise CommandError(f"{username} does not have the permission to decide approvals.")
    role = Role.ADMIN if account.is_superuser else Role.AGENT
    return Actor(username, role, Door.COMMAND, Assurance.HUMAN, f"account:{username}")
