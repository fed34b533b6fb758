"""Ask for sign-off, ask anew, and end what is no longer asked."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from approvals_app import queries, rules
from approvals_app.event_types import REQUESTED
from approvals_app.models import Approval, Status
from approvals_app.pending_limit import pending_counts
from approvals_app.services.transitions import Closing, close_all, event_of
from events_app.services import record_all
from orchestrator_site.core.actors import Actor
from orchestrator_site.infra import rows

# What a request asked anew has of the one before.
KEPT = (
    *("task_id", "trace_id", "priority", "policy", "decider_role", "reason"),
    *("requested_by", "requester_credential", "due_at"),
)


def new_request(
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
    with_it: Iterable[Approval] = (),
) -> Approval:
    """Return a request for sign-off on exactly this content, for `ask_all`; raise TooManyPending.

    requested_by: in whose name, if not the caller's own; only own requests count towards the cap.
    with_it: others that will be stored together with it.
    """
    if requested_by in ("", by.name):
        unstored = sum(other.requested_by == by.name for other in with_it)
        pending_counts.add(by.name, unstored=unstored)
    approval = rows.new(
        Approval,
        task_id=task_id,
        priority=priority,
        trace_id=trace_id,
        requested_by=requested_by or by.name,
        requester_credential=by.credential,
        due_at=due_at,
        snapshot=content,
        created_at=now,
    )
    put_terms(approval, demand, now=now)
    return approval


def put_terms(approval: Approval, demand: rules.Demand, *, now: datetime) -> None:
    """Set on which terms a request is asked; saves nothing."""
    approval.policy, approval.reason = demand.policy, demand.reason
    approval.decider_role = demand.decider_role
    patience = demand.expires_after
    approval.expires_at = now + timedelta(seconds=patience) if patience else None


def request_again(
    *,
    approval_id: str,
    content: dict[str, Any],
    demand: rules.Demand | None,
    by: Actor,
    now: datetime,
) -> Approval:
    """Ask anew, in the first requester's name: the task has changed, or policies ask for more.

    demand: the terms that hold now; None leaves the terms as they were.
    """
    before = queries.get_approval(approval_id)
    approval = rows.new(
        Approval,
        snapshot=content,
        created_at=now,
        expires_at=before.expires_at and before.expires_at + (now - before.created_at),
        **{name: getattr(before, name) for name in KEPT},
    )
    if demand:
        put_terms(approval, demand, now=now)
    ask_all([(approval, by)])
    return approval


def ask_all(asked: Sequence[tuple[Approval, Actor]]) -> None:
    """Store new requests, each bound to the content it shows, in the caller's transaction."""
    if not asked:
        return
    for approval, _ in asked:
        approval.digest = rules.digest_of(approval.snapshot)
    rows.insert(Approval, [approval for approval, _ in asked])
    record_all(
        [
            event_of(approval, REQUESTED, by=by, now=approval.created_at, reason=approval.reason)
            for approval, by in asked
        ]
    )


def lock_requests(task_ids: Collection[str], *, wait: bool = True) -> list[Approval]:
    """Return the open requests of tasks, locked, without what they show.

    wait: for those that are being decided right now; else they are left out, and `waiting_among`
    tells afterwards which tasks still wait. Call it before the tasks' own rows are locked: a
    decision takes the two rows in that order.
    """
    if not task_ids:
        return []
    skip = not wait and connection.features.has_select_for_update_skip_locked
    pending = Approval.objects.pending().filter(task_id__in=task_ids).defer("snapshot")
    return list(pending.select_for_update(skip_locked=skip).order_by("pk"))


def end_requests(
    *,
    task_ids: Collection[str],
    status: Status,
    by: Actor,
    now: datetime,
    reason: str,
    wait: bool,
) -> None:
    """Withdraw or supersede the open requests of tasks, for one reason; as `lock_requests` says."""
    open_ones = lock_requests(task_ids, wait=wait)
    close_all([Closing(approval, status, by, now, reason) for approval in open_ones])


def waiting_among(task_ids: Collection[str]) -> set[str]:
    """Return those of these tasks for which a request waits for a decision."""
    if not task_ids:
        return set()
    return set(
        Approval.objects.pending().filter(task_id__in=task_ids).values_list("task_id", flat=True)
    )


def forget_requests(*, task_ids: list[str]) -> int:
    """Delete the requests of pruned tasks, in the caller's transaction; return how many."""
    return Approval.objects.filter(task_id__in=task_ids).only("pk").delete()[0]
