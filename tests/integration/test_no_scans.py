"""No list, page or sweep looks at all rows: every statement is run among many rows, and what it visits counted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import RequestFactory

from approvals_app.jobs import expire_approvals
from approvals_app.models import Approval
from events_app.consumers import services as consumers
from events_app.log import reading, sequencing
from events_app.models import Event
from orchestrator_site.core.actors import Actor
from tasks_app.models import Agent, RoutingRule, Task
from tasks_app.services import agents as agent_services
from tasks_app.services import leases, routing, sla
from tests.contract import client as contract
from tests.support.console import login  # noqa: F401
from tests.support.growth import analyse, fill, fill_events, fill_tasks

TASKS, EVENTS, APPROVALS = 12_000, 20_000, 5_000
MOST_ROWS = 1_500  # visited by one statement on PostgreSQL: a page, or what is open
MOST_STEPS = 45_000  # of SQLite's machine; a scan of the tasks takes 48,000 and more
STEP = 1_000

# The least there may be of each query parameter: hardly any row fits.
RARE = {
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
PLACES = {"after", "cursor", "limit"}
SEARCHED = ("task_01kaw000000000000000000000", "dev_agent", "dev-agent-1", "bugfix", "nobody")


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
    first = make_task(source="ci")
    make_task(priority="P0", sla_target=1)
    make_task(sla_target=3600)
    leases.claim(agent="dev_agent", by=dev, now=now)
    consumers.create(name="c", start=0, types=[], ack_seconds=60, max_deliveries=5, by=dev, now=now)
    sequencing.head()
    fill_tasks(first, TASKS)
    fill_events(Event.objects.earliest("pk"), EVENTS)
    asked = Approval.objects.get()
    long_ago = "template.created_at"
    fill(
        asked,
        APPROVALS,
        status="'approved'",
        task_id="'task_' || n",
        decided_at=long_ago,
        decided_by="'dana'",
    )
    analyse()
    return first


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """Give the statements that read, as they were sent."""
    found: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().startswith(("SELECT", "WITH")) and "UPDATE tasks_app_task SET" not in sql:
            found.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield found


def ensure_no_scan(sent: list[tuple[str, Any]]) -> None:
    """Fail with the first statement that visits too much, and its plan."""
    for sql, params in sent:
        visited, most, plan = (rows_of if connection.vendor == "postgresql" else steps_of)(
            sql, params
        )
        assert visited <= most, (
            f"{visited} visited by {sql % tuple(params or ()) if not isinstance(params, dict) else sql}\n{plan}"
        )


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


def reads() -> list[str]:
    """Return an address for every GET of the API, and one for each of its filters."""
    found = []
    for path, methods in contract.document()["paths"].items():
        if "get" in methods and "stream" not in path and "subscription" not in path:
            found.append(path)
            named = {
                parameter["name"]
                for parameter in methods["get"].get("parameters", ())
                if parameter["in"] == "query"
            }
            found += [f"{path}?{name}={RARE[name]}" for name in sorted(named - PLACES)]
    return found


@pytest.mark.django_db
def test_no_read_of_the_api_looks_at_all_rows(many: Task, api: Callable[..., Any]) -> None:
    agent, places = api("agent"), {"{task_id}": many.task_id, "{name}": "c"}
    places["{approval_id}"] = Approval.objects.earliest("pk").approval_id
    for path in reads():
        for place, value in places.items():
            path = path.replace(place, value)
        with statements() as sent:
            assert agent.get(path).status_code == 200, path
        ensure_no_scan(sent)


@pytest.mark.django_db
def test_filters_together_do_not_look_at_all_rows(many: Task, api: Callable[..., Any]) -> None:
    for path in (
        "/tasks?status=failed&type=bugfix",
        "/tasks?overdue=true&assigned_agent=dev_agent",
        "/tasks?overdue=false",
        "/tasks?source=nowhere&status=failed",
        "/tasks/dead-letters?type=bugfix",
        "/tasks/dead-letters?assigned_agent=dev_agent",
    ):
        with statements() as sent:
            assert api("user").get(path).status_code == 200
        ensure_no_scan(sent)


def listed() -> list[str]:
    """Return the console's big lists, as they open and searched for an id or a word; tasks by every choice offered."""
    found = []
    for model in (Task, Event, Approval):
        page = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        shown = admin.site._registry[model]
        found += [page, *(f"{page}?q={word}" for word in SEARCHED)]
        choices: Any = shown.list_filter if model is Task else ()
        for choice in choices:
            options = choice(RequestFactory().get("/"), {}, model, shown)
            found += [
                f"{page}?{choice.parameter_name}={value}" for value, _ in options.lookup_choices
            ]
    return found


@pytest.mark.django_db
def test_no_list_of_the_console_looks_at_all_rows(many: Task, login: Callable[..., Any]) -> None:  # noqa: F811
    browser = login(None)
    for path in listed():
        with statements() as sent:
            assert browser.get(path).status_code == 200, path
        ensure_no_scan(sent)


def test_no_sweep_looks_at_all_rows(many: Task, admin: Actor, now: datetime) -> None:
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
        expire_approvals,
    ):
        with statements() as sent:
            sweep()
        ensure_no_scan(sent)
