"""Decisions looked back at in the console: in their order, with who decided, and found again."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from approvals_app.models import Approval
from orchestrator_site.core.actors import Actor, Assurance, Door, Role
from tasks_app.models import Task
from tests.support import console, decisions

Make = Callable[..., Task]
Login = Callable[..., Client]
LIST = "/admin/approvals_app/approval/"
ALICE = Actor("alice", Role.AGENT, Door.API, Assurance.SHARED, "jwt")
ZOE = Actor("zoe", Role.AGENT, Door.CONSOLE, Assurance.HUMAN, "account:zoe")
login = console.login


@pytest.fixture
def decided(make_task: Make) -> list[Approval]:
    """Three requests, the first asked decided last: by alice a week ago and lately, by zoe
    yesterday; one waits.
    """
    now = timezone.now()
    tasks = [
        make_task(priority="P0", payload={"service": name})
        for name in ("first", "second", "third", "waits")
    ]
    asked = [Approval.objects.get(task_id=task.task_id) for task in tasks]
    decisions.approve(
        approval_id=asked[2].approval_id, by=ALICE, now=now - timedelta(days=6), reason="Old."
    )
    decisions.reject(
        approval_id=asked[1].approval_id,
        by=ZOE,
        now=now - timedelta(hours=20),
        reason="No <backup>.",
    )
    decisions.approve(approval_id=asked[0].approval_id, by=ALICE, now=now - timedelta(minutes=5))
    return [Approval.objects.get(pk=one.pk) for one in asked]


def listed(client: Client, **query: str) -> list[str]:
    """Return the services of the rows, as the list shows them."""
    page = client.get(LIST, query).content.decode()
    places = {name: page.find(f"service: {name}") for name in ("first", "second", "third", "waits")}
    return sorted((name for name in places if places[name] >= 0), key=lambda name: places[name])


def test_decisions_are_listed_as_they_were_made(login: Login, decided: list[Approval]) -> None:
    assert listed(login("Viewers"), status="decided") == ["first", "second", "third"]


def test_a_decision_shows_when_who_how_well_known_why_and_by_which_door(
    login: Login, decided: list[Approval]
) -> None:
    page = login("Viewers").get(LIST, {"status": "decided"}).content.decode()

    for shown in (
        "5 min ago",
        "20 h ago",
        "alice",
        "shared secret",
        "by api",
        "zoe",
        "console account",
        "by console",
    ):
        assert shown in page
    assert "No &lt;backup&gt;." in page and "Old." in page
    assert "/approve/" not in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"decider": "alice"}, ["first", "third"]),
        ({"decider": "alice", "decided": "7d"}, ["first", "third"]),
        ({"decider": "alice", "decided": "24h"}, ["first"]),
        ({"status": "decided", "decided": "24h"}, ["first", "second"]),
        ({"status": "rejected", "decided": "30d"}, ["second"]),
        ({"status": "decided", "decider": "nobody"}, []),
    ],
)
def test_decisions_are_narrowed_by_who_and_when(
    login: Login, decided: list[Approval], query: dict[str, str], found: list[str]
) -> None:
    assert listed(login("Viewers"), **query) == found


@pytest.mark.parametrize("tab", ["", "decided", "all", "approved"])
def test_an_id_is_found_in_any_tab(login: Login, decided: list[Approval], tab: str) -> None:
    client = login("Viewers")
    given = {"status": tab} if tab else {}

    for approval in decided:
        for term in (approval.approval_id, f" {approval.task_id} "):
            assert listed(client, q=term, **given) == [approval.snapshot["payload"]["service"]]


def test_a_name_is_found_whether_it_asked_or_decided(login: Login, decided: list[Approval]) -> None:
    client = login("Viewers")

    assert set(listed(client, q="alice")) == {"first", "third"}
    assert set(listed(client, q="dev-agent-1")) == {"first", "second", "third", "waits"}
    assert listed(client, q="dev-agent-1", status="decided") == ["first", "second", "third"]


def test_what_is_found_waiting_can_be_decided(login: Login, decided: list[Approval]) -> None:
    page = login("Approvers").get(LIST, {"q": "dev-agent-1"}).content.decode()

    assert (
        f"{decided[3].approval_id}/approve/" in page
        and f"{decided[0].approval_id}/approve/" not in page
    )


def test_the_inbox_shows_nothing_decided(login: Login, decided: list[Approval]) -> None:
    assert listed(login("Viewers")) == ["waits"]


@pytest.mark.parametrize(
    "query",
    [
        {"status": "decided"},
        {"decider": "alice"},
        {"decided": "24h"},
        {"q": "alice"},
        {"q": "approval_01m8b8w5gefxyva8t2f9n2e0zk"},
        {"q": "task_01m8b8w5gefxyva8t2f9n2e0zk"},
    ],
)
def test_no_list_of_decisions_reads_the_whole_table(
    login: Login, decided: list[Approval], query: dict[str, str]
) -> None:
    client = login("Viewers")
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
        plans = plans_of(client, query)

    assert all(plans) and len(plans) >= 2
    for plan in plans:
        assert "Seq Scan on approvals_app_approval" not in plan
        assert not [
            row
            for row in plan.splitlines()
            if "SCAN approvals_app_approval" in row and "INDEX" not in row
        ]


def plans_of(client: Client, query: dict[str, str]) -> list[str]:
    """Return how the database answers each statement of a list that reads requests."""
    plans: list[str] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        newest_by_number = sql.endswith('ORDER BY "approvals_app_approval"."id" DESC LIMIT 500')
        if sql.startswith("SELECT") and "approvals_app_approval" in sql and not newest_by_number:
            with context["connection"].cursor() as cursor:
                how = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
                cursor.execute(f"{how} {sql}", params)
                plans.append("\n".join([sql[-150:], *(str(row[-1]) for row in cursor.fetchall())]))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        client.get(LIST, query)
    return plans
