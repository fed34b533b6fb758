"""Close requests, each once, and say in the log what happened to them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import connection

from approvals_app.event_types import APPROVED, EXPIRED, REJECTED, SUPERSEDED, WITHDRAWN
from approvals_app.models import Approval, Status
from events_app.models import Event
from events_app.services import change, new_event, record_all
from orchestrator_site.core.actors import SYSTEM, Actor
from orchestrator_site.infra import rows

EVENT_OF = {
    Status.APPROVED: APPROVED,
    Status.REJECTED: REJECTED,
    Status.EXPIRED: EXPIRED,
    Status.WITHDRAWN: WITHDRAWN,
    Status.SUPERSEDED: SUPERSEDED,
}
CLOSED = (
    *("status", "decided_by", "decider_credential", "door", "decision_reason"),
    "decided_at",
)


class Closing(NamedTuple):
    """How a request that is pending, and locked by the caller, ends."""

    approval: Approval
    status: Status
    by: Actor
    now: datetime
    reason: str


def locked(approval_ids: Collection[str]) -> dict[str, Approval]:
    """Return those requests that exist, locked in the one order that all take, by their ids."""
    where = f"approval_id IN ({rows.placeholders(len(approval_ids))}) ORDER BY id"
    lock = " FOR UPDATE" if connection.features.has_select_for_update else ""
    found = rows.select(Approval, where + lock, [*approval_ids])
    return {approval.approval_id: approval for approval in found}


def close_all(closings: Sequence[Closing]) -> None:
    """Close requests and say so, in the caller's transaction, which has locked them."""
    if not closings:
        return
    for approval, status, by, now, reason in closings:
        approval.status, approval.decided_at, approval.decision_reason = status, now, reason
        approval.decided_by, approval.decider_credential = by.name, by.credential
        approval.door = by.door
    rows.update(Approval, [closing.approval for closing in closings], CLOSED)
    record_all(
        [
            event_of(approval, EVENT_OF[status], by=by, now=now, reason=reason)
            for approval, status, by, now, reason in closings
        ]
    )


def expire_approvals(*, now: datetime, limit: int = 500) -> int:
    """End pending requests whose time has run out, each once; return how many."""
    due = Approval.objects.run_out(now).order_by("expires_at").values_list("pk", flat=True)
    return sum(expire(pk, now=now) for pk in list(due[:limit]))


@change
def expire(pk: int, *, now: datetime) -> int:
    """End a request unless somebody has decided, or another sweep was first; return 1 if it did."""
    due = Approval.objects.run_out(now).select_for_update().filter(pk=pk).defer("snapshot")
    found = [
        Closing(approval, Status.EXPIRED, SYSTEM, now, "Nobody decided in time.")
        for approval in due
    ]
    close_all(found)
    return len(found)


def outcome_of(approval: Approval) -> str:
    """Return one sentence about how a request ended."""
    if approval.status == Status.PENDING:
        return f"{approval.approval_id} has expired."
    return f"{approval.approval_id} is already {approval.status} by {approval.decided_by}."


def facts_of(approval: Approval) -> dict[str, str]:
    """Return the state of a request that a refusal carries."""
    return {
        "approval_id": approval.approval_id,
        "status": approval.status,
        "decided_by": approval.decided_by,
    }


def event_of(
    approval: Approval, event_type: str, *, by: Actor, now: datetime, **more: str
) -> Event:
    """Return what the log says of a request."""
    return new_event(
        event_type=event_type,
        by=by,
        now=now,
        payload={"approval_id": approval.approval_id, "digest": approval.digest, **more},
        task_id=approval.task_id,
        trace_id=approval.trace_id,
        priority=approval.priority,
    )
