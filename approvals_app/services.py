"""Ask for sign-off, give it, refuse it, and tell whether it was given."""

import contextlib
import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import connection

from approvals_app import hooks, rules
from approvals_app.errors import (
    AlreadyDecided,
    MayNotDecide,
    NotShown,
    PolicyTightened,
    UnknownApproval,
)
from approvals_app.event_types import (
    APPROVED,
    DECISION_REFUSED,
    EXPIRED,
    REJECTED,
    REQUESTED,
    SUPERSEDED,
    WITHDRAWN,
)
from approvals_app.models import Approval, ApprovalPolicy, Status, new_approval_id
from approvals_app.pending_limit import pending_counts
from events_app.models import Event
from events_app.services import change, new_event, record_all
from orchestrator_site.auth.accounts import may_decide as account_may_decide
from orchestrator_site.auth.api_keys import persons_behind
from orchestrator_site.core.actors import SYSTEM, Actor
from orchestrator_site.core.errors import DomainError
from orchestrator_site.core.names import fold
from orchestrator_site.infra.cached_rows import CachedRows

REFUSAL_NOTED_EVERY = 60  # seconds
EVENT_OF = {
    Status.APPROVED: APPROVED,
    Status.REJECTED: REJECTED,
    Status.EXPIRED: EXPIRED,
    Status.WITHDRAWN: WITHDRAWN,
    Status.SUPERSEDED: SUPERSEDED,
}
policies = CachedRows(
    ["approvals_app.ApprovalPolicy"],
    lambda: list(ApprovalPolicy.objects.filter(active=True).order_by("name")),
)


def request_approval(
    *,
    task_id: str,
    priority: str,
    trace_id: str,
    content: dict[str, Any],
    demand: rules.Demand,
    by: Actor,
    now: datetime,
    requested_by: str = "",
    due_at: datetime | None = None,
) -> Approval:
    """Ask for sign-off on exactly this content, in the caller's transaction; raise TooManyPending.

    requested_by: in whose name, if not the caller's own; only own requests count towards the cap.
    """
    if requested_by in ("", by.name):
        pending_counts.add(by.name)
    approval = Approval(
        task_id=task_id,
        priority=priority,
        trace_id=trace_id,
        requested_by=requested_by or by.name,
        requester_credential=by.credential,
        due_at=due_at,
    )
    put_terms(approval, demand, now=now)
    return ask(approval, content=content, by=by, now=now)


def put_terms(approval: Approval, demand: rules.Demand, *, now: datetime) -> None:
    """Set on which terms a request is asked; saves nothing."""
    approval.policy, approval.reason = demand.policy, demand.reason
    approval.decider_role = demand.decider_role
    patience = demand.expires_after
    approval.expires_at = now + timedelta(seconds=patience) if patience else None


def request_again(
    *,
    approval_id: str,
    task_id: str,
    content: dict[str, Any],
    demand: rules.Demand | None,
    by: Actor,
    now: datetime,
) -> Approval:
    """Ask anew, in the first requester's name: the task has changed, or policies ask for more.

    demand: the terms that hold now; None leaves the terms as they were.
    """
    approval = get_approval(approval_id)
    if demand:
        put_terms(approval, demand, now=now)
    elif approval.expires_at:
        approval.expires_at += now - approval.created_at
    approval.pk, approval.approval_id, approval.status = None, new_approval_id(), Status.PENDING
    approval.task_id = task_id
    approval.decided_by = approval.decider_credential = approval.door = approval.decision_reason = (
        ""
    )
    approval.decided_at = None
    return ask(approval, content=content, by=by, now=now)


def ask(approval: Approval, *, content: dict[str, Any], by: Actor, now: datetime) -> Approval:
    """Store a new request, bound to the content it shows."""
    approval.snapshot, approval.digest = content, rules.digest_of(content)
    approval.created_at = now
    approval.save(force_insert=True)
    tell(approval, REQUESTED, by=by, now=now, reason=approval.reason)
    return approval


def get_approval(approval_id: str) -> Approval:
    """Return the approval; raise UnknownApproval."""
    try:
        return Approval.objects.get(approval_id=approval_id)
    except Approval.DoesNotExist:
        raise UnknownApproval(approval_id) from None


def find_all(approval_ids: Sequence[str]) -> list[Approval | UnknownApproval]:
    """Return each approval, or that there is none."""
    rows = Approval.objects.in_bulk(set(approval_ids), field_name="approval_id")
    return [rows.get(name) or UnknownApproval(name) for name in approval_ids]


def verdict(
    *, approval_id: str, content: dict[str, Any], demand: rules.Demand | None = None
) -> rules.Granted | rules.Refused:
    """Return whether exactly this content was approved, on terms as strict as `demand`."""
    approval = Approval.objects.filter(approval_id=approval_id).first()
    status = approval.status if approval else "missing"
    if approval is None or status != Status.APPROVED:
        reason = f"The task needs sign-off: {approval_id} is {status}."
        return rules.Refused(reason, status, approval_id)
    if approval.digest != rules.digest_of(content):
        change = f"The task has changed since {approval_id} was approved"
    elif demand and not rules.meets(approval, demand):
        change = f"Policy asks for more than when {approval_id} was approved"
    else:
        return rules.Granted()
    return rules.Refused(f"{change}; it needs a new decision.", status, approval_id, ask_anew=True)


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
    approval = get_approval(approval_id)
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
    approval = get_approval(approval_id)
    if approval.status != verdict or fold(approval.decided_by) != fold(by.name):
        return None
    approval.repeated = True
    return approval


def refuse_role(
    *, approval_id: str, verdict: Status, by: Actor, now: datetime, reason: str
) -> None:
    """Record an attempt that was refused because of the caller's role."""
    with contextlib.suppress(UnknownApproval):
        note_refusal(get_approval(approval_id), verdict=verdict, by=by, now=now, reason=reason)


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
    raise PolicyTightened(sentence, **facts_of(get_approval(approval.approval_id)))


def ensure_may_decide(approval: Approval, by: Actor) -> None:
    """Raise MayNotDecide unless this actor may decide this request in the mode of the settings."""
    if sentence := refusals([approval], by).get(approval.approval_id):
        raise MayNotDecide(sentence)


def refusals(approvals: list[Approval], by: Actor) -> dict[str, str]:
    """Return why this actor may not decide which of these requests: {approval_id: sentence}.

    The number of queries does not depend on the number of requests.
    """
    mode = settings.ORCHESTRATOR_APPROVAL_MODE
    fit = mode == "guide" or not by.made_by or account_may_decide(by.made_by)
    found = {}
    for approval, involved in zip(approvals, parties_of(approvals, mode), strict=True):
        try:
            rules.ensure_may_decide(
                approval, by, mode=mode, involved=involved, maker_may_decide=fit
            )
        except MayNotDecide as refusal:
            found[approval.approval_id] = str(refusal)
    return found


def parties_of(approvals: list[Approval], mode: str) -> list[frozenset[str]]:
    """Return who has a part in each request's task; outside `guide` with the people behind."""
    task_ids = [approval.task_id for approval in approvals]
    parties = [names_of(task_ids) for names_of in hooks.parties] if task_ids else []
    groups = [
        {hooks.Party(approval.requested_by, approval.requester_credential)}.union(
            *(some.get(approval.task_id, ()) for some in parties)
        )
        for approval in approvals
    ]
    if mode == "guide" or not approvals:
        return [frozenset(party.name for party in group) for group in groups]
    return persons_behind(groups)


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
    approval = get_approval(approval_id)
    if not won:
        raise AlreadyDecided(outcome_of(approval), **facts_of(approval))
    tell(approval, EVENT_OF[status], by=by, now=now, reason=reason)
    return approval


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


def end_requests(
    *,
    task_ids: list[str],
    status: Status,
    by: Actor,
    now: datetime,
    reason: str,
    wait: bool,
) -> None:
    """Withdraw or supersede the open requests of tasks. Runs in the caller's transaction.

    wait: for those that are being decided right now; else they stay, and `waiting_among` tells
    afterwards which tasks still wait. Call it before the tasks' own rows are locked: a decision
    takes the two rows in that order.
    """
    skip = not wait and connection.features.has_select_for_update_skip_locked
    pending = Approval.objects.pending().filter(task_id__in=task_ids).defer("snapshot")
    rows = list(pending.select_for_update(skip_locked=skip).order_by("pk")) if task_ids else []
    if not rows:
        return
    Approval.objects.filter(pk__in=[row.pk for row in rows]).update(
        status=status,
        decided_by=by.name,
        decider_credential=by.credential,
        door=by.door,
        decision_reason=reason,
        decided_at=now,
    )
    record_all([event_of(row, EVENT_OF[status], by=by, now=now, reason=reason) for row in rows])


def waiting_among(task_ids: list[str]) -> set[str]:
    """Return those of these tasks for which a request waits for a decision."""
    if not task_ids:
        return set()
    return set(
        Approval.objects.pending().filter(task_id__in=task_ids).values_list("task_id", flat=True)
    )


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


def forget_requests(*, task_ids: list[str]) -> int:
    """Delete the requests of pruned tasks, in the caller's transaction; return how many."""
    return Approval.objects.filter(task_id__in=task_ids).only("pk").delete()[0]
