"""Approve and reject requests, and record attempts that are refused."""

import contextlib
import hashlib
from datetime import datetime

from django.core.cache import cache

from approvals_app import hooks, queries, rules
from approvals_app.errors import AlreadyDecided, NotShown, PolicyTightened, UnknownApproval
from approvals_app.event_types import DECISION_REFUSED
from approvals_app.models import Approval, Status
from approvals_app.services.separation import ensure_may_decide
from approvals_app.services.transitions import close, facts_of, tell
from approvals_app.services.verdicts import policies
from events_app.services import change
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import DomainError
from orchestrator_site.core.names import fold

REFUSAL_NOTED_EVERY = 60  # seconds


def approve(
    *, approval_id: str, by: Actor, now: datetime, reason: str = "", shown: str = ""
) -> Approval:
    """Approve a pending request; parameters and errors as of `decide`."""
    return decide(
        approval_id=approval_id, verdict=Status.APPROVED, by=by, now=now, reason=reason, shown=shown
    )


def reject(
    *, approval_id: str, by: Actor, now: datetime, reason: str = "", shown: str = ""
) -> Approval:
    """Reject a pending request; parameters and errors as of `decide`."""
    return decide(
        approval_id=approval_id, verdict=Status.REJECTED, by=by, now=now, reason=reason, shown=shown
    )


def decide(
    *,
    approval_id: str,
    verdict: Status,
    by: Actor,
    now: datetime,
    reason: str = "",
    shown: str = "",
) -> Approval:
    """Decide a pending request; raise UnknownApproval, or why it cannot be decided.

    shown: the digest of what was looked at, or "". A decision is final. The same decision by the
    same decider again writes nothing and is marked `repeated`. A refused attempt is recorded.
    """
    approval = queries.get_approval(approval_id)
    try:
        ensure_may_decide(approval, by)
        ensure_shown(approval, shown)
        ensure_terms_hold(approval, now=now)
        with change():
            return close(approval_id=approval_id, status=verdict, by=by, now=now, reason=reason)
    except DomainError as refusal:
        if isinstance(refusal, AlreadyDecided) and (same := said_before(approval_id, verdict, by)):
            return same
        note_refusal(approval, verdict=verdict, by=by, now=now, reason=str(refusal))
        raise


def said_before(approval_id: str, verdict: Status, by: Actor) -> Approval | None:
    """Return the request if the same decider has decided it in the same way, else None."""
    approval = queries.get_approval(approval_id)
    if approval.status != verdict or fold(approval.decided_by) != fold(by.name):
        return None
    approval.repeated = True
    return approval


def refuse_role(
    *, approval_id: str, verdict: Status, by: Actor, now: datetime, reason: str
) -> None:
    """Record an attempt that was refused because of the caller's role."""
    with contextlib.suppress(UnknownApproval):
        note_refusal(
            queries.get_approval(approval_id), verdict=verdict, by=by, now=now, reason=reason
        )


def note_refusal(
    approval: Approval, *, verdict: Status, by: Actor, now: datetime, reason: str
) -> None:
    """Record a refused attempt; the same one by the same caller at most once a minute."""
    attempt = f"{fold(by.name)}|{approval.approval_id}|{verdict}|{reason}"
    if cache.add(f"refused:{hashlib.sha256(attempt.encode()).hexdigest()}", 1, REFUSAL_NOTED_EVERY):
        with change():
            tell(approval, DECISION_REFUSED, by=by, now=now, wanted=verdict.value, reason=reason)


def ensure_shown(approval: Approval, shown: str) -> None:
    """Raise NotShown if other content was looked at, or it does not match its digest."""
    stored = rules.digest_of(approval.snapshot)
    if {stored, shown or stored} != {approval.digest}:
        sentence = f"{approval.approval_id} is not what you were shown. Look again, then decide."
        raise NotShown(sentence, **facts_of(approval))


def ensure_terms_hold(approval: Approval, *, now: datetime) -> None:
    """Raise PolicyTightened, after asking anew, if policies ask for more than this request does."""
    if approval.status != Status.PENDING:
        return
    demand = rules.demand_of(str(approval.snapshot.get("type", "")), approval.priority, policies())
    if demand is None or rules.meets(approval, demand):
        return
    for renew in hooks.renewals:
        renew(task_id=approval.task_id, approval_id=approval.approval_id, now=now)
    sentence = (
        f"Policy asks for more than {approval.approval_id} did. A new request has taken its place."
    )
    raise PolicyTightened(sentence, **facts_of(queries.get_approval(approval.approval_id)))
