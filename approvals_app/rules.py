"""Who must sign, who may sign, and what a signature holds for. Pure: no database, no clock."""

import hashlib
import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from approvals_app.models import Approval, ApprovalPolicy
from orchestrator_site.actors import Actor, Assurance, Role
from orchestrator_site.errors import Forbidden


class MayNotDecide(Forbidden):
    """The caller may not decide this request."""


def policy_for(task_type: str, priority: str, policies: Iterable[ApprovalPolicy]) -> ApprovalPolicy | None:
    """Return the first policy that asks for sign-off on such a task, or None."""
    return next((policy for policy in policies if fits(policy, task_type, priority)), None)


def fits(policy: ApprovalPolicy, task_type: str, priority: str) -> bool:
    """Return whether a policy asks for sign-off on tasks of this type and priority."""
    return (not policy.priorities or priority in policy.priorities) and (not policy.types or task_type in policy.types)


def digest_of(content: dict[str, Any]) -> str:
    """Return the SHA-256 of content as canonical JSON, the same before and after it was stored."""
    text = json.dumps(plain(content), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: Any) -> Any:
    """Return JSON data with whole floats as integers: databases give 1.0 or 1e23 back as one or the other.

    By their decimal digits, as PostgreSQL does: the binary value of 1e23 is another integer.
    """
    if isinstance(value, float) and value.is_integer():
        return int(Decimal(repr(value)))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def ensure_may_decide(approval: Approval, by: Actor, *, mode: str, involved: frozenset[str] = frozenset()) -> None:
    """Raise MayNotDecide unless the actor may decide this request. Every door asks here (D27).

    mode: `guide`, `four-eyes`, `strict` or `human`. involved: who else has a hand in the task: its holder
    and its last editor.
    """
    if not by.role.covers(Role(approval.decider_role)):
        raise MayNotDecide(f"Deciding this request needs the role {approval.decider_role}.")
    if mode == "human" and by.assurance != Assurance.HUMAN:
        raise MayNotDecide("Only people may decide here, signed in to the console.")
    if mode == "strict" and by.assurance == Assurance.SHARED:
        raise MayNotDecide("Tokens signed with the shared secret may not decide here; use a personal key.")
    if mode != "guide" and by.name in involved | {approval.requested_by}:
        raise MayNotDecide("Nobody decides what they asked for, hold or last edited.")
    if mode == "strict" and by.credential and by.credential == approval.requester_credential:
        raise MayNotDecide("The credential that asked may not decide.")
