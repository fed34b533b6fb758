"""No list, page or sweep looks at all rows: what each statement visits among many is counted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from approvals_app.models import Approval
from approvals_app.services.transitions import expire_approvals
from events_app.consumers import services as consumers
from events_app.log import reading, retention, sequencing
from events_app.models import Delivery, Event, Subscription
from events_app.services import publish
from events_app.webhooks import fan_out, sender
from events_app.webhooks import services as webhooks
from orchestrator_site.api import idempotency
from orchestrator_site.core.actors import Actor
from orchestrator_site.infra.sqlite import statistics
from orchestrator_site.models import IdempotencyKey
from tasks_app.models import Agent, RoutingRule, Task
from tasks_app.services import agents as agent_services
from tasks_app.services import claims, dependencies, leases, routing, sla
from tasks_app.services import retention as task_retention
from tests.contract import client as contract
from tests.support.addresses import lists, reads
from tests.support.console import login  # noqa: F401
from tests.support.growth import analyse, fill, fill_events, fill_tasks, multiply

TASKS, EVENTS, OTHERS = 12_000, 20_000, 12_000
MOST_ROWS = 1_500  # visited by one statement on PostgreSQL: a page, or what is open
MOST_STEPS = 45_000  # of SQLite's machine; a scan of the tasks takes 48,000 and more
STEP = 1_000

RARE = {  # of each query parameter, a value that hardly any row has
    "assigned_agent": "faq_agent",
    "created_by": "nobody",
    "failure_reason": "dependency",
    "overdue": "true",
    "parent_task_id": "task_none",
    "priority": "P3",
    "source": "nowhere",
    "source_agent": "nobody",
    "status": "failed",
    "task_id": "task_none",
    "trace_id": "trace_none",
    "type": "documentation",
    "types": "none.such",
}
COMMON = {  # and one that most have
    "assigned_agent": "dev_agent",
    "created_by": "dev-agent-1",
    "priority": "P2",
    "source": "ci",
    "status": "completed",
    "type": "bugfix",
    "overdue": "false",
}
TASK_FILTERS = sorted(set(RARE) - {"source_agent", "task_id", "types"})
SEARCHES = ["task_01kaw000000000000000000000", "dev-agent-1", "bugfix", "nobody"]
CHOICES = {"family": "rare", "publisher": "nobody", "requested_by": "nobody", "decider": "nobody"}


@pytest.fixture
def many(
    api: Callable[..., Any],
    make_task: Callable[..., Task],
    dev: Actor,
    now: datetime,
    monkeypatch: Any,
) -> Task:
    """Many rows of everything, of which few are open; the first task is returned."""
    monkeypatch.setattr(reading, "WINDOW", 500)
    by: dict[str, Any] = {"by": dev, "now": now}
    first = make_task(source="ci")
    make_task(priority="P0", sla_target=1)
    make_task(sla_target=3600)
    claims.claim(agent="dev_agent", **by)
    consumers.create(name="c", start=0, types=[], ack_seconds=60, max_deliveries=5, **by)
    publish(event_type="rare.tick", source_agent="rare", payload={}, **by)
    url, kinds = "https://example.com/x", ["none.such"]
    receiver = webhooks.subscribe(url=url, types=kinds, format="json", description="", **by)
    Subscription.objects.update(position=sequencing.head() + EVENTS)
    multiply_all(first, receiver, now)
    analyse()
    return first


def multiply_all(task: Task, receiver: Subscription, now: datetime) -> None:
    """Add many ended tasks, events, decisions, arrived deliveries, and kept answers."""
    event, at = Event.objects.filter(task_id=task.task_id).earliest("pk"), "template.created_at"
    delivery = webhooks.new_delivery(receiver, event, now=now)
    delivery.position = 1
    delivery.save()
    fill_tasks(task, TASKS)
    fill_events(event, EVENTS)
    ended = {"status": "'approved'", "task_id": "'task_' || n", "decided_at": at}
    fill(Approval.objects.get(), OTHERS, **ended, decided_by="'dana'")
    arrived = {"status": "'delivered'", "position": f"{EVENTS} + n", "settled_at": at}
    multiply(delivery, OTHERS, event_id="'evt_' || n", **arrived)
    IdempotencyKey.objects.bulk_create(
        IdempotencyKey(
            principal="dev-agent-1", key=f"k{n}", operation="POST /tasks", created_at=now
        )
        for n in range(OTHERS)
    )


WRITTEN_BY_WITH = ("tasks_app_task", "events_app_ledger")


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """Give the statements that read, as they were sent."""
    found: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        writes = any(f"UPDATE {table} SET" in sql for table in WRITTEN_BY_WITH)
        if sql.lstrip().startswith(("SELECT", "WITH")) and not writes:
            found.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield found


def ensure_no_scan(sent: list[tuple[str, Any]]) -> None:
    """Fail with the first statement that visits too much, and its plan."""
    for sql, params in sent:
        count = rows_of if connection.vendor == "postgresql" else steps_of
        visited, most, plan = count(sql, params)
        assert visited <= most, f"{visited} visited by {sql} {params}\n{plan}"


def rows_of(sql: str, params: Any) -> tuple[int, int, Any]:
    """Return how many rows a statement visits on PostgreSQL, how many it may, and its plan."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params)
        plan = cursor.fetchone()[0]
    return int(visited_in(plan[0]["Plan"])), MOST_ROWS, plan


def visited_in(node: dict[str, Any]) -> float:
    """Return the rows a node of a plan and those below it read from tables, kept or not."""
    below = sum(visited_in(child) for child in node.get("Plans", ()))
    if "Relation Name" not in node and node["Node Type"] != "Bitmap Index Scan":
        return below
    rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return below + rows * node["Actual Loops"]


def steps_of(sql: str, params: Any) -> tuple[int, int, Any]:
    """Return how many steps a statement takes on SQLite, how many it may, and its plan."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += STEP
        return 0

    with connection.cursor() as cursor:
        connection.connection.set_progress_handler(count, STEP)
        cursor.execute(sql, params)
        cursor.fetchall()
        connection.connection.set_progress_handler(None, STEP)
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
        return steps, MOST_STEPS, [row[-1] for row in cursor.fetchall()]


def ensure_no_scan_by(get: Callable[[str], Any], paths: Any) -> None:
    """Fail with the first address whose statements visit too much."""
    for path in paths:
        with statements() as sent:
            assert get(path).status_code == 200, path
        ensure_no_scan(sent)


@pytest.mark.django_db
def test_no_read_of_the_api_looks_at_all_rows(many: Task, api: Callable[..., Any]) -> None:
    names = {
        "approval_id": Approval.objects.earliest("pk").approval_id,
        "name": "c",
        "subscription_id": Subscription.objects.get().subscription_id,
        "task_id": many.task_id,
    }
    rare = RARE | {"status": "{status}"}
    for path in reads(contract.document(), rare):
        status = "dead" if "deliveries" in path else "failed"
        ensure_no_scan_by(api("admin").get, [path.format(status=status, **names)])


@pytest.mark.django_db
def test_two_filters_together_do_not_look_at_all_rows(many: Task, api: Callable[..., Any]) -> None:
    pairs = [
        f"/tasks?{one}={RARE[one]}&{other}={COMMON[other]}"
        for one in TASK_FILTERS
        for other in COMMON
        if one != other
    ]
    letters = ["/tasks/dead-letters?type=bugfix", "/tasks/dead-letters?assigned_agent=dev_agent"]
    ensure_no_scan_by(api("user").get, [*pairs, "/tasks?overdue=false", *letters])


@pytest.mark.django_db
@pytest.mark.parametrize(
    "types", ["rare.tick", "task.*", "none.*,none.such", "rare.*,task.created"]
)
def test_events_of_some_types_are_found_without_a_scan(many, api, types: str) -> None:
    found, after = 0, ""
    while True:
        ensure_no_scan_by(api("user").get, [f"/events?types={types}{after}"])
        page = api("user").get(f"/events?types={types}{after}").json()
        found += len(page["events"])
        if found or after == f"&after={page['next']}":
            break
        after = f"&after={page['next']}"

    assert bool(found) == (not types.startswith("none"))


@pytest.mark.no_cover  # measuring would take long
@pytest.mark.django_db
def test_no_list_of_the_console_looks_at_all_rows(many: Task, login: Callable[..., Any]) -> None:  # noqa: F811
    events, tasks = "/admin/events_app/event/", "/admin/tasks_app/task/"
    pairs = [
        f"{events}?family=rare&publisher=dev-agent-1",
        f"{events}?family=task&publisher=nobody",
        f"{events}?origin=human&family=task",
        f"{tasks}?type=documentation&status=completed",
        f"{tasks}?failure=dependency&status=failed&agent=dev_agent",
    ]
    ensure_no_scan_by(login(None).get, [*lists(SEARCHES, CHOICES), *pairs])


def test_no_sweep_looks_at_all_rows(many: Task, dev: Actor, now: datetime) -> None:
    RoutingRule.objects.update(fallback="ops_agent")
    Agent.objects.filter(name="dev_agent").update(active=False)
    routing.agents.forget()
    later = now + timedelta(minutes=30)
    for sweep in (
        lambda: routing.route_pending(now=later),
        lambda: sla.check_slas(now=later),
        lambda: leases.requeue_lost_leases(now=later),
        lambda: agent_services.mark_stale_agents(now=later),
        lambda: agent_services.overview(now=later),
        lambda: dependencies.settle_waiting(clock=lambda: later),
        lambda: expire_approvals(now=later),
        lambda: sender.deliver(clock=lambda: later),
        lambda: fan_out.forget(now=later),
        lambda: idempotency.prune_answers(now=later),
        lambda: retention.prune(older_than=timedelta(days=1), now=later, steps=1),
        lambda: task_retention.prune_batch([many.pk], before=later, by=dev, now=later),
        lambda: task_retention.candidates(later, after=0, limit=task_retention.BATCH),
    ):
        with statements() as sent:
            sweep()
        ensure_no_scan(sent)


def test_sqlite_is_told_of_every_index_it_may_choose() -> None:
    for model in (Task, Event, Approval, Delivery):
        names = {index.name for index in model._meta.indexes}
        assert names <= set(statistics.TYPICAL[model._meta.db_table])
