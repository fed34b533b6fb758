"""Decide one request in a word: what a test says when the decision itself is not its subject."""

from datetime import datetime

from approvals_app.models import Approval, Status
from approvals_app.services.decisions import Decision, decide
from orchestrator_site.core.actors import Actor


def approve(
    *, approval_id: str, by: Actor, now: datetime, reason: str = "", shown: str = ""
) -> Approval:
    return decide(Decision(approval_id, Status.APPROVED, by, now, reason, shown))


def reject(
    *, approval_id: str, by: Actor, now: datetime, reason: str = "", shown: str = ""
) -> Approval:
    return decide(Decision(approval_id, Status.REJECTED, by, now, reason, shown))
