"""Create tasks: routed, gated where policy asks, with their events."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from approvals_app.models import Approval
from approvals_app.services import requests
from events_app.models import Event
from events_app.services import change, new_event, record_all
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import DomainError
from orchestrator_site.infra import rows
from orchestrator_site.infra.wakeups import tasks_of
from tasks_app import rules
from tasks_app.errors import UnknownParent, UnknownType
from tasks_app.event_types import TASK_ASSIGNED, TASK_CREATED
from tasks_app.models import Status, Task
from tasks_app.services import approval_gate, dependencies, routing


class NewTask(NamedTuple):
    """What is to be created, by whom and when.

    fields: type, payload; optional priority, source, metadata, sla_target, trace_id,
    parent_task_id, not_before, depends_on, on_dependency_failure, max_attempts.
    """

    fields: dict[str, Any]
    by: Actor
    now: datetime


def create_task(*, by: Actor, now: datetime, **fields: Any) -> Task:
    """Take in one task; raise why it cannot be, as `create_all` says."""
    [outcome] = create_all([NewTask(fields, by, now)])
    if isinstance(outcome, DomainError):
        raise outcome
    return outcome


@change
def create_all(news: Sequence[NewTask]) -> list[Task | DomainError]:
    """Take in tasks: routed, gated where policy asks, with their events, in one transaction.

    Return each task, or why it cannot be: UnknownType, UnknownParent, UnknownDependency,
    TooManyDependents or TooManyPending. The others are created all the same.
    """
    return taken_in(news)


def taken_in(news: Sequence[NewTask]) -> list[Task | DomainError]:
    """Take in tasks in the change under way, which asks for none of them until its end."""
    parents = known_parents(news)
    if waited_for := {name for new in news for name in new.fields.get("depends_on", ())}:
        dependencies.lock(waited_for)
    asked: list[tuple[Approval, Actor]] = []
    outcomes = [accepted(new, parents, asked) for new in news]
    if asked:
        requests.ask_all(asked)
    created = [
        (new, task) for new, task in zip(news, outcomes, strict=True) if isinstance(task, Task)
    ]
    events = [event for new, task in created for event in intake_events(task, new.by, new.now)]
    agents = {task.assigned_agent for _, task in created} - {""}
    if events:
        unstored = [task for _, task in created if task.pk is None]
        record_all(events, wakes=map(tasks_of, sorted(agents)), new=unstored)
    return outcomes


def known_parents(news: Iterable[NewTask]) -> set[str]:
    """Return which of the parents that are named exist."""
    named = {new.fields.get("parent_task_id") for new in news} - {None, ""}
    if not named:
        return set()
    return set(Task.objects.filter(task_id__in=named).values_list("task_id", flat=True))


def accepted(
    new: NewTask, parents: Collection[str], asked: list[tuple[Approval, Actor]]
) -> Task | DomainError:
    """Return a task that can be stored, or why it cannot.

    asked: gets the request for its sign-off, if it needs one. A task that waits for others is
    stored at once, so that the next one counts it.
    """
    try:
        task = build(parents, new)
        names = new.fields.get("depends_on")
        needed = dependencies.wanted(task, names) if names else []
        others = [approval for approval, _ in asked]
        approval = approval_gate.request(task, by=new.by, now=new.now, with_it=others)
    except DomainError as refusal:
        return refusal
    if approval:
        asked.append((approval, new.by))
    if needed:
        task.save(force_insert=True)
        dependencies.store(task, needed)
    return task


def build(parents: Collection[str], new: NewTask) -> Task:
    """Return a task as it will be stored, routed and with its deadlines."""
    by, now, fields = new.by, new.now, {**new.fields}
    fields.pop("depends_on", None)
    rule = routing.routing_rules().get(fields["type"])
    if rule is None:
        raise UnknownType(f"No agent takes tasks of type {fields['type']!r}.", field="type")
    parent = fields.get("parent_task_id")
    if parent and parent not in parents:
        raise UnknownParent(f"There is no task {parent} to be the parent.", field="parent_task_id")
    agent = rules.agent_for(rule, routing.agents())
    task = rows.new(
        Task,
        created_by=by.name,
        creator_credential=by.credential,
        reported_by=by.name,
        reporter_credential=by.credential,
        door=by.door,
        created_at=now,
        assigned_agent=agent,
        status=Status.ASSIGNED if agent else Status.PENDING,
        assigned_at=now if agent else None,
        due_at=rules.due_at(now, fields.get("sla_target")),
        warn_at=rules.warn_at(now, fields.get("sla_target")),
        **fields,
    )
    task.turn_at = rules.turn_at(max(now, task.not_before or now), task.priority)
    return task


def intake_events(task: Task, by: Actor, now: datetime) -> list[Event]:
    """Return what the log says of a new task: created, and assigned if it has an agent."""
    about: dict[str, Any] = {
        "by": by,
        "now": now,
        "task_id": task.task_id,
        "trace_id": task.trace_id,
        "priority": task.priority,
    }
    created = new_event(
        event_type=TASK_CREATED,
        payload={"type": task.type, "agent": task.assigned_agent, "source": task.source},
        moved=("", task.status),
        **about,
    )
    if not task.assigned_agent:
        return [created]
    return [
        created,
        new_event(event_type=TASK_ASSIGNED, payload={"agent": task.assigned_agent}, **about),
    ]
