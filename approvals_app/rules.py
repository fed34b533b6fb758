"""Who must sign, who may sign, and what a signature holds for. Pure: no database, no clock."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from approvals_app.errors import MayNotDecide
from approvals_app.models import Approval, ApprovalPolicy, Status
from orchestrator_site.core.actors import Actor, Assurance, Role
from orchestrator_site.core.names import fold
from orchestrator_site.core.priorities import Priority

MOST_TOGETHER = 20  # requests decided at once


@dataclass(frozen=True)
class Demand:
    """What the policies that match a task ask for together."""

    policy: str  # their names
    decider_role: str
    expires_after: int | None  # seconds
    reason: str


def demand_of(task_type: str, priority: str, policies: Iterable[ApprovalPolicy]) -> Demand | None:
    """Return what all matching policies ask of such a task, or None if none matches.

    The strictest wins in each demand: the higher role, the shorter time. Order means nothing.
    """
    matching = [policy for policy in policies if fits(policy, task_type, priority)]
    if not matching:
        return None
    matching.sort(key=lambda policy: (-Role(policy.decider_role).rank, policy.name))
    return Demand(
        policy=joined([policy.name for policy in matching], Approval, "policy"),
        decider_role=matching[0].decider_role,
        expires_after=min(
            (policy.expires_after for policy in matching if policy.expires_after), default=None
        ),
        reason=joined([policy.reason for policy in matching], Approval, "reason", " "),
    )


def joined(texts: list[str], model: type[Approval], field: str, between: str = " · ") -> str:
    """Return different texts side by side, cut to what a field takes."""
    most = getattr(model._meta.get_field(field), "max_length", None) or 0
    text = between.join(dict.fromkeys(filter(None, texts)))
    return text if len(text) <= most else text[: most - 1] + "…"


def meets(approval: Approval, demand: Demand) -> bool:
    """Return whether a request was asked, and decided, on terms at least as strict as these."""
    if not Role(approval.decider_role).covers(Role(demand.decider_role)):
        return False
    if demand.expires_after is None:
        return True
    end = approval.decided_at or approval.expires_at
    return end is not None and end <= approval.created_at + timedelta(seconds=demand.expires_after)


def is_open(approval: Approval, now: datetime) -> bool:
    """Return whether a request can still be decided."""
    return approval.status == Status.PENDING and (
        approval.expires_at is None or approval.expires_at > now
    )


def fits(policy: ApprovalPolicy, task_type: str, priority: str) -> bool:
    """Return whether a policy asks for sign-off on tasks of this type and priority."""
    return (not policy.priorities or priority in policy.priorities) and (
        not policy.types or task_type in policy.types
    )


@dataclass(frozen=True)
class Granted:
    """A task may start as far as sign-off goes."""


@dataclass(frozen=True)
class Refused:
    """A task may not start. ask_anew: somebody has to be asked first, or again."""

    reason: str
    approval_status: str = "missing"
    approval_id: str = ""
    ask_anew: bool = False


def digest_of(content: dict[str, Any]) -> str:
    """Return the SHA-256 of content as canonical JSON, the same before and after it was stored."""
    text = json.dumps(plain(content), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: Any) -> Any:
    """Return JSON data with whole floats as integers: databases return 1.0 as either.

    The integer is that of the decimal digits, as in PostgreSQL: the binary value of 1e23 differs.
    """
    if isinstance(value, float) and value.is_integer():
        return int(Decimal(repr(value)))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def ensure_may_decide(
    approval: Approval,
    by: Actor,
    *,
    mode: str,
    involved: frozenset[str] = frozenset(),
    maker_may_decide: bool = True,
) -> None:
    """Raise MayNotDecide unless the actor may decide this request. Every door asks here.

    mode: `guide`, `four-eyes`, `strict` or `human`. involved: who has a part in the task
    (requester, holder, last editor) and everybody these count as. maker_may_decide: whether the
    account that made the actor's key, if one did, may decide itself.
    """
    if not by.role.covers(Role(approval.decider_role)):
        raise MayNotDecide(f"Deciding this request needs the role {approval.decider_role}.")
    if mode == "human" and by.assurance != Assurance.HUMAN:
        raise MayNotDecide("Only people may decide here, signed in to the console.")
    if mode == "strict" and by.assurance == Assurance.SHARED:
        raise MayNotDecide(
            "Tokens signed with the shared secret may not decide here; use a personal key."
        )
    if mode != "guide" and not by.persons.isdisjoint(map(fold, {*involved, approval.requested_by})):
        raise MayNotDecide("Nobody decides what they asked for, hold or last edited.")
    if mode == "strict" and by.credential and by.credential == approval.requester_credential:
        raise MayNotDecide("The credential that asked may not decide.")
    if mode != "guide" and not maker_may_decide:
        raise MayNotDecide("The account that made this key may not decide, so the key may not.")


def refusal_together(approvals: list[Approval], verdict: str) -> str:
    """Return why these may not be decided at once (over 20, or a P0 to approve), or an empty
    string.
    """
    if len(approvals) > MOST_TOGETHER:
        return f"At most {MOST_TOGETHER} requests can be decided together."
    urgent = [approval.approval_id for approval in approvals if approval.priority == Priority.P0]
    if verdict == Status.APPROVED and urgent:
        return f"A P0 request is approved on its own, not among others: {', '.join(urgent)}."
    return ""
