"""Services take lists: what is done together ends as if it had been done one by one.

The long form: `SEQUENCES=5000 python -m tests.stores tests/integration/test_lists.py`; with
`FIRST=1820 SEQUENCES=1` that of one seed.
How it was seen that this has teeth: `test_a_list_that_loses_an_event_is_caught`.
"""

import contextlib
import itertools
import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from django.apps import apps
from django.core.cache import cache
from django.db import transaction
from django.db.models import Model
from rest_framework.exceptions import APIException

from approvals_app.event_types import DECISION_REFUSED
from approvals_app.models import Approval, ApprovalPolicy
from approvals_app.models import Status as Verdict
from approvals_app.pending_limit import pending_counts
from approvals_app.rules import digest_of
from approvals_app.services import decisions
from events_app.models import Event, Ledger
from events_app.services import record_all
from orchestrator_site.api import idempotency
from orchestrator_site.core.errors import DomainError
from orchestrator_site.infra import cached_rows, group_commit
from orchestrator_site.infra.group_commit import Queued
from tasks_app import rules
from tasks_app.models import OPEN, Task
from tasks_app.services import claims, dependencies, intake, lifecycle
from tests.support.chances import Rounds, any_rounds
from tests.support.operations import Job, Side, Tamper, Tighten

FIRST, SEQUENCES = (int(os.environ.get(*one)) for one in (("FIRST", "0"), ("SEQUENCES", "50")))
MOST_SHOWN = 12
ID = re.compile(r"(?:task|approval)_\d{26}|[0-9a-f]{64}")
Carry = Callable[[list[Job]], list[Any]]
# Made anew for each row, by hand, and asked for by nobody in these tests.
NOT_COMPARED = {"id", "event_id", "position"}
# A sign of life is written every few seconds; one of a transaction that was undone is lost.
NOT_COMPARED |= {"last_seen_at"}
pytestmark = [pytest.mark.no_cover, pytest.mark.slow, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def small_limits(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have limits that a handful of operations reaches, and no chance."""
    settings.MAX_PENDING_APPROVALS = 4
    monkeypatch.setattr(dependencies, "MOST_DEPENDENTS", 2)
    backoff = rules.backoff
    monkeypatch.setattr(rules, "backoff", lambda attempt: backoff(attempt, jitter=0.5))


def together(jobs: list[Job]) -> list[Any]:
    """Carry out jobs as the group commit does what has arrived."""
    return group_commit.carried_out([Queued(job.work, job.item, cast(Any, None)) for job in jobs])


def one_by_one(jobs: list[Job]) -> list[Any]:
    """Carry out the same jobs one after the other, in the order that a list says."""
    outcomes = {place: together([jobs[place]])[0] for place in order(jobs)}
    return [outcomes[place] for place in range(len(jobs))]


def order(jobs: list[Job]) -> list[int]:
    """Return the places of jobs in the order of their turns: work by work.

    What names the same thing once more waits for another round. Claims go queue by queue, keys in
    an order of their own; a rejection comes after the decisions on what it fails, which is younger.
    A fault has everyone with a key take their turn as they came.
    """
    works = [job.work for job in jobs]
    flawed = {job.work for job in jobs if job.flawed}
    queues = [queue_of(job) for job in jobs]
    tasks = dict(Approval.objects.values_list("approval_id", "task_id"))
    rounds: Counter[Any] = Counter()
    turns: list[Any] = []
    for job in jobs:
        turn: Any = queues.index(queue_of(job))
        if job.work is idempotency.answer_all and job.work not in flawed:
            name = (job.item.principal, job.item.key)
            rounds[name] += 1
            turn = (rounds[name], name)
        elif job.work is idempotency.answer_all:
            turn = ()
        elif job.work is decisions.decide_all:
            name = job.item.approval_id
            rounds[name] += 1
            rejects = job.item.verdict == Verdict.REJECTED
            turn = (rounds[name], rejects, -int(tasks.get(name, "0")[-26:]) if rejects else 0)
        turns.append((works.index(job.work), turn))
    return sorted(range(len(jobs)), key=turns.__getitem__)


def queue_of(job: Job) -> Any:
    """Return which queue a job asks, None if it is no claim."""
    if job.work is not claims.claim_all:
        return None
    return job.item.agent, job.item.lease_seconds, sorted(job.item.types or ())


@contextlib.contextmanager
def fresh_world() -> Iterator[None]:
    """Begin with nothing in memory and ids that count; undo everything at the end."""
    numbers: dict[str, Iterator[int]] = defaultdict(itertools.count)
    with pytest.MonkeyPatch.context() as patch, transaction.atomic():
        for maker in ("tasks_app.models.task", "events_app.models.event", "approvals_app.models"):
            patch.setattr(f"{maker}.new_id", lambda name: f"{name}_{next(numbers[name]):026}")
        forget()
        ApprovalPolicy.objects.update(expires_after=600)
        yield
        transaction.set_rollback(True)
    forget()


def forget() -> None:
    """Forget what the process keeps in memory."""
    cached_rows.forget_all()
    pending_counts._known.clear()
    cache.clear()


def played(rounds: Rounds, carry: Carry) -> dict[str, Any]:
    """Return the outcomes of all that is asked for, and the events and rows at the end."""
    outcomes: list[Any] = []
    with fresh_world():
        side = Side(datetime.fromisoformat("2026-01-31T12:00:00+00:00"))
        for act, operations in rounds:
            if act:
                act.act(side)
            jobs, side.met_at = [], side.now
            for operation in operations:
                side.now += timedelta(milliseconds=1)
                jobs.append(operation.job(side))
            if any(isinstance(act, Tamper | Tighten) for act, _ in rounds):
                jobs = without_second_reports(jobs)
            outcomes.append(
                [
                    (job.work.__name__, said(one, flawed=job.flawed))
                    for job, one in zip(jobs, carry(jobs), strict=True)
                ]
            )
        names = names_of_ids()
        tables = {table: sorted(rows, key=repr) for table, rows in renamed(stored(), names).items()}
        return {"outcomes": renamed(outcomes, names), "events": renamed(told(), names), **tables}


def without_second_reports(jobs: list[Job]) -> list[Job]:
    """Return jobs with one report on a task at most.

    A gate that has shut meanwhile asks anew after the list, too late for a second report in it.
    """
    reports = [job for job in jobs if job.work is lifecycle.report_all]
    first = {job.item.task_id: job for job in reversed(reports)}
    return [job for job in jobs if job not in reports or job is first[job.item.task_id]]


def names_of_ids() -> dict[str, str]:
    """Return a name for each id that is stored: what was undone has used up some between them."""
    names: dict[str, str] = {}
    for task_id in Task.objects.order_by("task_id").values_list("task_id", flat=True):
        names[task_id] = f"task {len(names)}"
    requests: Counter[str] = Counter()
    for row in Approval.objects.order_by("approval_id"):
        requests[row.task_id] += 1
        names[row.approval_id] = f"request {requests[row.task_id]} for {names[row.task_id]}"
        names[row.digest] = digest_of(renamed(row.snapshot, names))
    return names


def renamed(value: Any, names: dict[str, str]) -> Any:
    """Return a value with the names in place of the ids, also in sentences."""
    if isinstance(value, str):
        return ID.sub(lambda found: names.get(found.group(), found.group()), value)
    if isinstance(value, bytes):
        return renamed(value.decode(), names)
    if isinstance(value, dict):
        return {renamed(name, names): renamed(part, names) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [renamed(part, names) for part in value]
    return value


def said(outcome: Any, *, flawed: bool = False) -> Any:
    """Return what a caller sees of an outcome; raise a fault that is not of a flawed job."""
    if isinstance(outcome, DomainError):
        return type(outcome).__name__, str(outcome), outcome.state
    if isinstance(outcome, APIException):
        return type(outcome).__name__, str(outcome)
    if isinstance(outcome, Exception):
        if not flawed:
            raise outcome
        return type(outcome).__name__
    if isinstance(outcome, Model):
        return values(outcome)
    if isinstance(outcome, tuple | list):
        return [said(part) for part in outcome]
    return outcome


def values(row: Model) -> dict[str, Any]:
    """Return the columns of a row; other rows are named by their public id."""
    found = {}
    for field in row._meta.concrete_fields:
        value = getattr(row, field.attname)
        if field.related_model is Task:
            value = getattr(row, field.name).task_id
        if field.attname not in NOT_COMPARED:
            found[field.attname] = value
    if isinstance(row, Task) and row.status not in OPEN:
        del found["awaiting_approval"]  # a hint for the queue, which it has left
    return found


def stored() -> dict[str, list[Any]]:
    """Return the rows of every table but the log."""
    ours = ("events_app", "approvals_app", "tasks_app", "orchestrator_site")
    models = [model for app in ours for model in apps.get_app_config(app).get_models()]
    return {
        model.__name__: list(map(values, model._default_manager.all()))
        for model in models
        if model is not Event
    }


def told() -> list[Any]:
    """Return the events of each task in their order; their positions have no gap.

    That a decision was refused may be said a little later.
    """
    events: dict[str, list[Any]] = defaultdict(list)
    rows = list(Event.objects.order_by("position"))
    assert [row.position for row in rows] == list(range(1, Ledger.objects.get().head + 1))
    refused = [row for row in rows if row.event_type == DECISION_REFUSED]
    others = [row for row in rows if row.event_type != DECISION_REFUSED]
    for row in [*others, *sorted(refused, key=lambda row: row.created_at)]:
        events[row.task_id].append(values(row))
    return [event for task_id in sorted(events) for event in events[task_id]]


def differences(rounds: Rounds) -> list[str]:
    """Return where the two ways do not end alike."""
    singly, listed = (dict(leaves(played(rounds, carry))) for carry in (one_by_one, together))
    return [
        f"{path}: one by one {singly.get(path)!r}, in lists {listed.get(path)!r}"
        for path in singly | listed
        if singly.get(path) != listed.get(path)
    ]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Give each value that is made of no others, and where it stands."""
    if not isinstance(value, dict | list):
        yield path, value
        return
    for name, part in value.items() if isinstance(value, dict) else enumerate(value):
        yield from leaves(part, f"{path}/{name}")


def shortest(rounds: Rounds) -> Rounds:
    """Return what is left of operations when all are taken out that make no difference."""
    for place, (act, operations) in enumerate(rounds):
        choices: list[Rounds] = [
            [],
            [(None, operations)] if act else [],
            *([(act, operations[:n] + operations[n + 1 :])] for n in range(len(operations))),
        ]
        for fewer in choices:
            less = [*rounds[:place], *fewer, *rounds[place + 1 :]]
            if less != rounds and differences(less):
                return shortest(less)
    return rounds


def check(seed: int) -> None:
    """Fail unless both ways end alike."""
    rounds = any_rounds(random.Random(seed))
    if differences(rounds):
        short = shortest(rounds)
        report = [f"seed {seed}", *map(str, short), *differences(short)[:MOST_SHOWN]]
        pytest.fail("\n".join(report), pytrace=False)


@pytest.mark.timeout(60 + 10 * SEQUENCES)  # far more than it takes
def test_what_is_done_together_ends_as_if_done_one_by_one() -> None:
    for seed in range(FIRST, FIRST + SEQUENCES):
        check(seed)


def test_a_list_that_loses_an_event_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:

    def forgetful(events: list[Event], **more: Any) -> None:
        record_all(events[:1] + events[2:] if len(events) > 2 else events, **more)

    monkeypatch.setattr(intake, "record_all", forgetful)
    found = differences(any_rounds(random.Random(1)))
    assert [path for path in found if path.startswith("/events")]
