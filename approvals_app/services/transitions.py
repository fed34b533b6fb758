"""Close requests, each once, and say in the log what happened to them."""

from datetime import datetime

from approvals_app import queries
from approvals_app.errors import AlreadyDecided
from approvals_app.event_types import APPROVED, EXPIRED, REJECTED, SUPERSEDED, WITHDRAWN
from approvals_app.models import Approval, Status
from events_app.models import Event
from events_app.services import change, new_event, record_all
from orchestrator_site.core.actors import SYSTEM, Actor

EVENT_OF = {
    Status.APPROVED: APPROVED,
    Status.REJECTED: REJECTED,
    Status.EXPIRED: EXPIRED,
    Status.WITHDRAWN: WITHDRAWN,
    Status.SUPERSEDED: SUPERSEDED,
}


def close(
    *, approval_id: str, status: Status, by: Actor, now: datetime, reason: str = ""
) -> Approval:
    """Close a pending request; of several attempts at once the conditional update lets one win."""
    rows = Approval.objects.pending().filter(approval_id=approval_id)
    if status in (Status.APPROVED, Status.REJECTED):
        rows = rows.live(now)
    won = rows.update(
        status=status,
        decided_by=by.name,
        decider_credential=by.credential,
        door=by.door,
        decision_reason=reason,
        decided_at=now,
    )
    approval = queries.get_approval(approval_id)
    if not won:
        raise AlreadyDecided(outcome_of(approval), **facts_of(approval))
    tell(approval, EVENT_OF[status], by=by, now=now, reason=reason)
    return approval


def expire_approvals(*, now: datetime, limit: int = 500) -> int:
    """End pending requests whose time has run out, each once; return how many."""
    expired = 0
    due = Approval.objects.run_out(now).order_by("expires_at").values_list("approval_id", flat=True)
    for approval_id in list(due[:limit]):
        try:
            with change():
                reason = "Nobody decided in time."
                close(
                    approval_id=approval_id,
                    status=Status.EXPIRED,
                    by=SYSTEM,
                    now=now,
                    reason=reason,
                )
        except AlreadyDecided:
            continue  # somebody decided, or another sweep was first
        expired += 1
    return expired


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


def tell(approval: Approval, event_type: str, *, by: Actor, now: datetime, **more: str) -> None:
    """Record what happened to a request."""
    record_all([event_of(approval, event_type, by=by, now=now, **more)])


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
