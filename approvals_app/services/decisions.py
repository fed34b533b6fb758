"""Approve and reject requests, and record attempts that are refused."""

import contextlib
import hashlib
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from django.core.cache import cache

from approvals_app import hooks, queries, rules
from approvals_app.errors import (
    AlreadyDecided,
    MayNotDecide,
    NotShown,
    PolicyTightened,
    UnknownApproval,
)
from approvals_app.event_types import DECISION_REFUSED
from approvals_app.models import Approval, Status
from approvals_app.services import separation
from approvals_app.services.transitions import (
    Closing,
    close_all,
    event_of,
    facts_of,
    locked,
    outcome_of,
)
from approvals_app.services.verdicts import policies
from events_app.services import change, record_all
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import DomainError
from orchestrator_site.core.names import fold
from orchestrator_site.infra.changes import on_rollback

REFUSAL_NOTED_EVERY = 60  # seconds


class Decision(NamedTuple):
    """What somebody says of a request. shown: the digest of what was looked at, or ""."""

    approval_id: str
    verdict: Status
    by: Actor
    now: datetime
    reason: str = ""
    shown: str = ""


def decide(decision: Decision) -> Approval:
    """Decide one pending request; raise why it cannot be, as `decide_all` says."""
    [outcome] = decide_all([decision])
    if isinstance(outcome, DomainError):
        raise outcome
    return outcome


@change
def decide_all(decisions: Sequence[Decision]) -> list[Approval | DomainError]:
    """Decide pending requests, in one transaction; a decision is final.

    Return each request as it then is, or why it is not decided: UnknownApproval, MayNotDecide,
    NotShown, PolicyTightened or AlreadyDecided. A refused attempt is recorded. The same decision by
    the same decider again writes nothing and is marked `repeated`. Those on one request count in
    their order. A task is not failed by another's rejection before its own request is decided.
    """
    outcomes: dict[int, Approval | DomainError] = {}
    places = list(range(len(decisions)))
    while places:
        firsts = {decisions[place].approval_id: place for place in reversed(places)}
        apart = sorted(firsts.values())
        found = decide_apart([decisions[place] for place in apart])
        outcomes.update(zip(apart, found, strict=True))
        places = [place for place in places if place not in outcomes]
    return [outcomes[place] for place in range(len(decisions))]


def decide_apart(decisions: Sequence[Decision]) -> list[Approval | DomainError]:
    """Decide requests that are all different ones."""
    requests = locked([decision.approval_id for decision in decisions])
    asked = [
        (requests[decision.approval_id], decision)
        for decision in decisions
        if decision.approval_id in requests
    ]
    barred = separation.refusals([(approval, decision.by) for approval, decision in asked])
    refused = {
        approval.approval_id: refusal
        for approval, decision in asked
        if (refusal := refusal_of(decision, approval, barred.get(approval.approval_id, "")))
    }
    close_all(
        [
            Closing(approval, decision.verdict, decision.by, decision.now, decision.reason)
            for approval, decision in asked
            if approval.approval_id not in refused and not approval.repeated
        ]
    )
    note_refusals(
        [
            (approval, decision, str(refused[approval.approval_id]))
            for approval, decision in asked
            if approval.approval_id in refused
        ]
    )
    known = requests | refused
    return [
        known.get(decision.approval_id) or UnknownApproval(decision.approval_id)
        for decision in decisions
    ]


def refusal_of(decision: Decision, approval: Approval, barred: str) -> DomainError | None:
    """Return why a locked request is not decided so, None if it is; mark it if it was before.

    barred: why the decider may not, or "".
    """
    try:
        if barred:
            raise MayNotDecide(barred)
        ensure_shown(approval, decision.shown)
        ensure_terms_hold(approval, now=decision.now)
        same = fold(approval.decided_by) == fold(decision.by.name)
        approval.repeated = approval.status == decision.verdict and same
        if not approval.repeated and not rules.is_open(approval, decision.now):
            raise AlreadyDecided(outcome_of(approval), **facts_of(approval))
    except DomainError as refusal:
        return refusal
    return None


def refuse_role(decision: Decision, reason: str) -> None:
    """Record an attempt that was refused because of the caller's role."""
    with contextlib.suppress(UnknownApproval):
        approval = queries.get_approval(decision.approval_id)
        with change():
            note_refusals([(approval, decision, reason)])


def note_refusals(attempts: Sequence[tuple[Approval, Decision, str]]) -> None:
    """Record refused attempts with their reasons; the same by the same caller once a minute."""
    events = [
        event_of(
            approval,
            DECISION_REFUSED,
            by=decision.by,
            now=decision.now,
            wanted=decision.verdict.value,
            reason=reason,
        )
        for approval, decision, reason in attempts
        if is_news(decision, reason)
    ]
    if events:
        record_all(events)


def is_news(decision: Decision, reason: str) -> bool:
    """Return whether this refusal has not been recorded within a minute; it counts as recorded."""
    attempt = f"{fold(decision.by.name)}|{decision.approval_id}|{decision.verdict}|{reason}"
    key = f"refused:{hashlib.sha256(attempt.encode()).hexdigest()}"
    if not cache.add(key, 1, REFUSAL_NOTED_EVERY):
        return False
    on_rollback(partial(cache.delete, key))
    return True


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
    approval.refresh_from_db()
    sentence = (
        f"Policy asks for more than {approval.approval_id} did. A new request has taken its place."
    )
    raise PolicyTightened(sentence, **facts_of(approval))
