"""A decision at the shell: who decides, and what is said of it."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from approvals_app.models import Approval
from orchestrator_site.auth.accounts import DECIDE, find_account
from orchestrator_site.core.actors import Actor, Assurance, Door, Role
from orchestrator_site.management.base import ServiceCommand


class DecisionCommand(ServiceCommand):
    """Approve or reject in the name of a console account."""

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


def as_answer(approval: Approval) -> dict[str, Any]:
    """Return what the commands answer."""
    answer = {
        "approval_id": approval.approval_id,
        "status": approval.status,
        "decided_by": approval.decided_by,
    }
    return answer | ({"repeated": True} if approval.repeated else {})


def decision(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options as the arguments of a deciding service."""
    if len(options["reason"]) > 2000 or "\0" in options["reason"]:
        raise CommandError("--reason must be at most 2000 characters.")
    return {
        "approval_id": options["approval_id"],
        "reason": options["reason"],
        "by": decider(options["username"]),
    }


def decider(username: str) -> Actor:
    """Return the account as who decides; raise CommandError unless it may."""
    account = find_account(username)
    if account is None:
        raise CommandError(f"There is no active staff account {username}.")
    if not account.has_perm(DECIDE):
        raise CommandError(f"{username} does not have the permission to decide approvals.")
    role = Role.ADMIN if account.is_superuser else Role.AGENT
    return Actor(username, role, Door.COMMAND, Assurance.HUMAN, f"account:{username}")
