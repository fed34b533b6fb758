"""Tasks over HTTP, as the guide says. Every answer is checked against the schema as well."""

from collections.abc import Callable
from typing import Any

import pytest

from approvals_app.models import Approval
from tasks_app.models import Agent, Task

Callers = Callable[..., Any]

NEW = {"type": "bugfix", "payload": {"issue": "123"}}

GUIDE = {
    "type": "bugfix",
    "payload": {"issue": "123", "description": "Fix login bug", "priority": "high"},
    "priority": "P1",
    "source": "github",
    "sla_target": 3600,
    "metadata": {"repo": "morningai", "branch": "main"},
}


def made(caller: Any, **more: Any) -> str:
    """Create a task; return its id."""
    answer = caller.post("/tasks", {**NEW, **more})
    assert answer.status_code == 200, answer.content
    return answer.json()["task_id"]


def test_the_guides_request_gets_the_guides_answer(api: Callers) -> None:
    answer = api("agent").post("/tasks", GUIDE)

    said = answer.json()
    assert answer.status_code == 200
    assert (said["success"], said["message"]) == (True, "Task created and assigned to dev_agent")
    task = said["task"]
    assert said["task_id"] == task["task_id"] == Task.objects.get().task_id
    assert said["task_id"].startswith("task_") and len(said["task_id"]) == 31
    assert {name: task[name] for name in GUIDE} == GUIDE
    assert (task["status"], task["assigned_agent"], task["created_by"]) == (
        "assigned",
        "dev_agent",
        "dev-agent-1",
    )
    assert task["created_at"].endswith("Z")
    assert task["approval"] == {
        "approval_id": Approval.objects.get().approval_id,
        "status": "pending",
        "required": True,
    }
    assert (task["sla"]["target"], task["sla"]["state"]) == (3600, "on_track")


def test_the_smallest_request_has_the_guides_defaults(api: Callers) -> None:
    task = api("agent").post("/tasks", NEW).json()["task"]

    assert (task["priority"], task["source"], task["metadata"], task["sla_target"]) == (
        "P2",
        "",
        {},
        None,
    )
    assert task["approval"] == {"approval_id": None, "status": None, "required": False}
    assert task["sla"] == {"target": None, "deadline": None, "state": "none"}


def test_a_task_is_read_as_it_was_made(api: Callers) -> None:
    created = api("agent").post("/tasks", GUIDE).json()["task"]

    read = api("user").get(f"/tasks/{created['task_id']}").json()

    assert (read["success"], read["task_id"]) == (True, created["task_id"])
    assert read["task"] == created


def test_a_day_in_the_life_of_a_task(api: Callers) -> None:
    agent = api("agent")
    task_id = made(agent)

    steps = [
        agent.patch(f"/tasks/{task_id}/status?status=in_progress"),
        agent.patch(f"/tasks/{task_id}/status?status=in_progress"),
        agent.patch(f"/tasks/{task_id}/status", {"status": "completed"}),
        agent.patch(f"/tasks/{task_id}/status?status=failed&error=late"),
    ]

    assert [step.status_code for step in steps] == [200, 200, 200, 409]
    assert steps[0].json() == {
        "success": True,
        "task_id": task_id,
        "status": "in_progress",
        "attempt": 0,
    }
    assert steps[3].json()["status"] == "completed"
    task = api("user").get(f"/tasks/{task_id}").json()["task"]
    assert task["status"] == "completed" and task["started_at"] <= task["completed_at"]


def test_the_error_comes_from_the_query_or_the_body(api: Callers) -> None:
    agent = api("agent")
    one, other = made(agent), made(agent)

    agent.patch(f"/tasks/{one}/status?status=failed&error=No+such+branch")
    agent.patch(f"/tasks/{other}/status", {"status": "failed", "error": "No such branch"})

    assert [agent.get(f"/tasks/{task_id}").json()["task"]["error"] for task_id in (one, other)] == [
        "No such branch"
    ] * 2


@pytest.mark.parametrize(
    ("data", "content_type"), [(b"", ""), (b"null", "application/json"), (b"", "application/json")]
)
def test_the_body_of_a_report_may_be_absent_empty_or_null(
    api: Callers, data: bytes, content_type: str
) -> None:
    agent = api("agent")
    task_id = made(agent)

    answer = agent.send_raw(
        "PATCH", f"/tasks/{task_id}/status?status=completed", data, content_type
    )

    assert answer.status_code == 200


def test_a_gated_task_starts_after_its_approval(api: Callers) -> None:
    agent = api("agent")
    task_id = made(agent, priority="P0")
    approval_id = agent.get(f"/tasks/{task_id}").json()["task"]["approval"]["approval_id"]

    before = [
        agent.patch(f"/tasks/{task_id}/status?status={status}")
        for status in ("in_progress", "completed")
    ]
    agent.post(f"/approvals/{approval_id}/approve")
    after = agent.patch(f"/tasks/{task_id}/status?status=in_progress")

    assert [answer.status_code for answer in before] == [409, 409]
    assert approval_id in before[0].json()["detail"]
    assert (before[0].json()["approval_id"], before[0].json()["status"]) == (
        approval_id,
        "assigned",
    )
    assert after.status_code == 200


def test_a_rejected_task_cannot_start(api: Callers) -> None:
    agent = api("agent")
    task_id = made(agent, priority="P1")
    approval_id = agent.get(f"/tasks/{task_id}").json()["task"]["approval"]["approval_id"]

    agent.post(f"/approvals/{approval_id}/reject?reason=Security+concerns")

    task = agent.get(f"/tasks/{task_id}").json()["task"]
    assert (task["status"], task["error"]) == ("cancelled", "Security concerns")
    assert task["approval"]["status"] == "rejected"
    assert agent.patch(f"/tasks/{task_id}/status?status=in_progress").status_code == 409


def test_a_caller_never_sets_what_is_the_servers(api: Callers) -> None:
    forged = {
        "task_id": "task_mine",
        "status": "completed",
        "assigned_agent": "ops_agent",
        "created_by": "root",
        "created_at": "2020-01-01T00:00:00Z",
        "approval": {"status": "approved"},
        "approval_id": "approval_mine",
        "awaiting_approval": False,
        "holder": "me",
        "attempt": 9,
        "result": {"a": 1},
        "failure_reason": "reported",
        "turn_at": "2020-01-01T00:00:00Z",
    }

    task = api("agent").post("/tasks", {**NEW, "priority": "P0", **forged}).json()["task"]

    assert task["task_id"] != "task_mine" and task["created_at"] > "2026"
    assert (task["status"], task["assigned_agent"], task["created_by"]) == (
        "assigned",
        "dev_agent",
        "dev-agent-1",
    )
    assert (task["holder"], task["attempt"], task["result"], task["approval"]["status"]) == (
        "",
        0,
        None,
        "pending",
    )


def test_a_smuggled_approval_does_not_open_the_gate(api: Callers) -> None:
    agent = api("agent")
    first = agent.get(f"/tasks/{made(agent, priority='P0')}").json()["task"]["approval"][
        "approval_id"
    ]
    agent.post(f"/approvals/{first}/approve")

    task_id = made(agent, priority="P0", metadata={"approval_id": first}, approval_id=first)

    assert agent.patch(f"/tasks/{task_id}/status?status=in_progress").status_code == 409


def test_the_query_of_a_create_counts_for_nothing(api: Callers) -> None:
    answer = api("agent").post("/tasks?priority=P3", {**NEW, "priority": "P0"})

    assert answer.json()["task"]["priority"] == "P0"


TRACES: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "field": ({"trace_id": "t-1", "metadata": {"trace_id": "t-2"}}, {}, "t-1"),
    "metadata": ({"metadata": {"trace_id": "t-2"}}, {}, "t-2"),
    "header": ({}, {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}, "a" * 32),
    "bad header": ({}, {"traceparent": "nonsense"}, "trace_"),
    "none": ({}, {}, "trace_"),
}


@pytest.mark.parametrize("case", TRACES)
def test_a_trace_is_on_the_task_its_approval_and_its_events(api: Callers, case: str) -> None:
    more, headers, expected = TRACES[case]
    agent = api("agent")

    task = agent.post("/tasks", {**NEW, "priority": "P0", **more}, **headers).json()["task"]

    approval = agent.get(f"/approvals/{task['approval']['approval_id']}").json()["approval"]
    events = agent.get(f"/tasks/{task['task_id']}/timeline").json()["timeline"]
    assert task["trace_id"].startswith(expected)
    assert {approval["trace_id"], *(event["trace_id"] for event in events)} == {task["trace_id"]}


def test_a_type_nobody_can_take_now_waits(api: Callers) -> None:
    agent = Agent.objects.get(name="dev_agent")
    agent.active = False
    agent.save()

    said = api("agent").post("/tasks", NEW).json()

    assert said["message"] == "Task created; no agent can take it yet"
    assert (said["task"]["status"], said["task"]["assigned_agent"]) == ("pending", "")


FILTERS = {
    "status=completed": [0],
    "status=assigned": [3, 2, 1],
    "type=deployment": [1],
    "priority=P3": [2],
    "assigned_agent=ops_agent": [1],
    "source=mail": [3],
    "created_by=dev-agent-1": [3, 2, 1, 0],
    "created_by=nobody": [],
    "trace_id=t-2": [2],
    "overdue=true": [],
    "overdue=false": [3, 2, 1, 0],
    "status=assigned&priority=P2": [3, 1],
    "limit=2": [3, 2],
}


@pytest.mark.parametrize("query", FILTERS)
def test_lists_are_newest_first_and_filtered(api: Callers, query: str) -> None:
    agent = api("agent")
    ids = [
        made(agent),
        made(agent, type="deployment", sla_target=3600),
        made(agent, priority="P3", trace_id="t-2"),
        made(agent, source="mail"),
    ]
    agent.patch(f"/tasks/{ids[0]}/status?status=completed")

    listed = api("user").get(f"/tasks?{query}").json()

    assert [task["task_id"] for task in listed["tasks"]] == [ids[place] for place in FILTERS[query]]
    assert listed["count"] == len(FILTERS[query])
    assert (listed["next"] is not None) == (query == "limit=2")


def test_paging_misses_and_repeats_nothing_while_tasks_come_in(api: Callers) -> None:
    agent = api("agent")
    ids = [made(agent) for _ in range(7)]
    seen: list[str] = []
    query = "limit=3"

    while query:
        page = agent.get(f"/tasks?{query}").json()
        seen += [task["task_id"] for task in page["tasks"]]
        made(agent)
        query = f"limit=3&cursor={page['next']}" if page["next"] else ""

    assert seen == ids[::-1]


def test_stats_count_by_the_guides_names(api: Callers) -> None:
    agent = api("agent")
    ids = [made(agent) for _ in range(3)]
    agent.patch(f"/tasks/{ids[0]}/status?status=in_progress")
    agent.patch(f"/tasks/{ids[1]}/status?status=completed")

    said = api(None).get("/stats").json()

    assert said["queue"] == {"pending_tasks": 1, "processing_tasks": 1, "total_tasks": 3}
    assert said["timestamp"].endswith("Z")
    assert api(None).get("/health").json()["queue_stats"] == said["queue"]


def test_a_key_makes_one_task_however_often_it_is_sent(api: Callers) -> None:
    answers = [api("agent").post("/tasks", NEW, **{"Idempotency-Key": "k-1"}) for _ in range(3)]

    assert {answer.content for answer in answers} == {answers[0].content}
    assert [answer.headers.get("Idempotent-Replay") for answer in answers] == [None, "true", "true"]
    assert Task.objects.count() == 1
    assert (
        api("agent")
        .post("/tasks", {**NEW, "priority": "P3"}, **{"Idempotency-Key": "k-1"})
        .status_code
        == 422
    )
    assert (
        api("agent", name="another").post("/tasks", NEW, **{"Idempotency-Key": "k-1"}).status_code
        == 200
    )


def test_the_work_loop(api: Callers) -> None:
    agent, other = api("agent"), api("agent", name="dev-agent-2")
    made(agent)

    [task] = agent.post("/tasks/claim", {"agent": "dev_agent", "lease_seconds": 30}).json()["tasks"]
    none = other.post("/tasks/claim", {"agent": "dev_agent"}).json()["tasks"]
    path, attempt = f"/tasks/{task['task_id']}", task["attempt"]
    beat = agent.post(f"{path}/heartbeat", {"attempt": attempt, "progress": 50, "note": "half"})
    refused = other.patch(f"{path}/status?status=completed")
    stale = agent.patch(f"{path}/status?status=completed&attempt=99")
    done = agent.patch(
        f"{path}/status", {"status": "completed", "attempt": attempt, "result": {"pr": 7}}
    )

    assert (task["status"], task["holder"], attempt, none) == ("in_progress", "dev-agent-1", 1, [])
    assert (beat.status_code, beat.json()["cancelled"]) == (200, False)
    assert (refused.status_code, refused.json()["holder"]) == (409, "dev-agent-1")
    assert (stale.status_code, stale.json()["attempt"]) == (409, 1)
    assert done.status_code == 200
    assert agent.get(path).json()["task"]["result"] == {"pr": 7}
    types = [event["event_type"] for event in agent.get(f"{path}/timeline").json()["timeline"]]
    assert types == ["task.created", "task.assigned", "task.claimed", "task.completed"]


def test_cancelling_is_for_the_creator_and_admins(api: Callers) -> None:
    agent = api("agent")
    one, other = made(agent), made(agent)

    answers = [
        api("agent", name="ops-agent-1").post(f"/tasks/{one}/cancel"),
        agent.post(f"/tasks/{one}/cancel", {"reason": "Obsolete"}),
        api("admin", name="root-1").patch(f"/tasks/{other}/status?status=cancelled&error=Obsolete"),
    ]

    assert [answer.status_code for answer in answers] == [403, 200, 200]
    assert set(Task.objects.values_list("status", "error")) == {("cancelled", "Obsolete")}
