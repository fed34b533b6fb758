"""Hooks of the apps below. Handlers of events run in the transaction that records the event."""

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from approvals_app import event_types as approval_events
from approvals_app.hooks import Party, decision_parties, names_task_types, renews_request
from events_app.hooks import keeps_events, on, tally
from events_app.models import Event
from events_app.services import wake_after_commit
from orchestrator_site.core.actors import SYSTEM
from orchestrator_site.infra.wakeups import tasks_of
from tasks_app import event_types, jobs
from tasks_app.models import Task, TaskCount
from tasks_app.services import approval_gate, lifecycle, routing, statistics


@on(approval_events.APPROVED)
def let_through(events: list[Event]) -> None:
    """Put approved tasks in their queues; whoever hands them out asks the gate again."""
    agents = approval_gate.let_through(
        {event.task_id: event.payload["approval_id"] for event in events}
    )
    wake_after_commit(*map(tasks_of, agents))


@on(approval_events.REJECTED)
@on(approval_events.EXPIRED)
def cancel_unsigned(events: list[Event]) -> None:
    """Cancel tasks whose sign-off was refused or never came."""
    default = "The request for sign-off was rejected."
    lifecycle.cancel_waiting(
        {
            event.task_id: (event.payload.get("reason") or default, event.created_at)
            for event in events
        }
    )


@on(event_types.AGENT_CHANGED)
@on(event_types.RULE_CHANGED)
def route_what_waits(events: list[Event]) -> None:
    """Have a worker route what waits; with the broker away the sweep does it soon."""
    transaction.on_commit(lambda: jobs.route_pending.delay(), robust=True)


@decision_parties
def parties_of(task_ids: list[str]) -> dict[str, set[Party]]:
    """Return who has a part in each task: its creator, its holder, and who reported on it last."""
    tasks = Task.objects.filter(task_id__in=task_ids).only(
        *("task_id", "created_by", "creator_credential", "holder", "holder_credential"),
        *("reported_by", "reporter_credential"),
    )
    return {
        task.task_id: {
            Party(task.created_by, task.creator_credential),
            Party(task.holder, task.holder_credential),
            Party(task.reported_by, task.reporter_credential),
        }
        - {Party(""), Party(SYSTEM.name)}
        for task in tasks
    }


renews_request(approval_gate.renew)
names_task_types(routing.routing_rules)
tally(TaskCount)(statistics.count_moves)


@keeps_events
def without_open_tasks(events: "QuerySet[Event]") -> "QuerySet[Event]":
    """Keep the events of open tasks."""
    return events.exclude(Exists(Task.objects.open().filter(task_id=OuterRef("task_id"))))
