"""Approvals over HTTP, as the guide says. Every answer is checked against the schema as well."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from approvals_app.models import Approval, ApprovalPolicy
from events_app.models import Event
from tasks_app.models import Task

Callers = Callable[..., Any]
Make = Callable[..., Task]


def test_the_guides_fields_of_a_pending_request(api: Callers, make_task: Make) -> None:
    task = make_task(priority="P0")

    said = api("user").get("/approvals/pending").json()

    assert (said["success"], said["count"]) == (True, 1)
    [approval] = said["approvals"]
    assert approval["approval_id"] == task.approval_id and approval["task_id"] == task.task_id
    assert (approval["priority"], approval["status"]) == ("P0", "pending")
    assert approval["reason"] and approval["created_at"].endswith("Z")
    assert (approval["approved_by"], approval["approved_at"], approval["rejected_by"]) == (
        None,
        None,
        None,
    )


def test_the_most_urgent_and_then_the_oldest_comes_first(api: Callers, make_task: Make) -> None:
    ids = [make_task(priority=priority).approval_id for priority in ("P1", "P0", "P1", "P0")]

    listed = api("user").get("/approvals/pending").json()["approvals"]

    assert [approval["approval_id"] for approval in listed] == [
        ids[place] for place in (1, 3, 0, 2)
    ]


def test_an_approval_names_who_gave_it(api: Callers, make_task: Make) -> None:
    approval_id = make_task(priority="P0").approval_id
    agent = api("agent", name="agent-user")

    answer = agent.post(f"/approvals/{approval_id}/approve")

    said = api("user").get(f"/approvals/{approval_id}").json()["approval"]
    assert answer.json() == {
        "success": True,
        "approval_id": approval_id,
        "message": "Approved by agent-user",
    }
    assert (said["status"], said["approved_by"], said["door"]) == ("approved", "agent-user", "api")
    assert said["approved_at"] == said["decided_at"] and said["approved_at"].endswith("Z")
    assert (said["rejected_by"], said["rejected_at"]) == (None, None)


@pytest.mark.parametrize("way", ["query", "body"])
def test_a_rejection_keeps_its_reason(api: Callers, make_task: Make, way: str) -> None:
    approval_id = make_task(priority="P0").approval_id
    agent = api("agent", name="agent-user")
    path = f"/approvals/{approval_id}/reject"

    if way == "query":
        answer = agent.post(f"{path}?reason=Security+concerns")
    else:
        answer = agent.post(path, {"reason": "Security concerns"})

    said = api("user").get(f"/approvals/{approval_id}").json()["approval"]
    assert answer.json() == {
        "success": True,
        "approval_id": approval_id,
        "message": "Rejected by agent-user",
    }
    assert (said["status"], said["rejected_by"], said["decision_reason"]) == (
        "rejected",
        "agent-user",
        "Security concerns",
    )
    assert (said["approved_by"], said["approved_at"]) == (None, None)


@pytest.mark.parametrize(
    ("data", "content_type"),
    [(b"", ""), (b"null", "application/json"), (b"{}", "application/json")],
)
@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_a_decision_needs_no_body(
    api: Callers, make_task: Make, verb: str, data: bytes, content_type: str
) -> None:
    path = f"/approvals/{make_task(priority='P0').approval_id}/{verb}"

    assert api("agent").send_raw("POST", path, data, content_type).status_code == 200


@pytest.mark.parametrize("second", ["approve", "reject"])
@pytest.mark.parametrize("first", ["approve", "reject"])
def test_a_second_decision_is_told_the_first(
    api: Callers, make_task: Make, first: str, second: str
) -> None:
    path = f"/approvals/{make_task(priority='P0').approval_id}"
    api("agent", name="alice").post(f"{path}/{first}")

    answer = api("agent", name="bob").post(f"{path}/{second}")

    assert answer.status_code == 409
    outcome = {"approve": "approved", "reject": "rejected"}[first]
    assert (answer.json()["status"], answer.json()["decided_by"]) == (outcome, "alice")
    assert Approval.objects.get().decided_by == "alice"


@pytest.mark.parametrize("way", ["query", "body"])
@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_a_decision_may_name_what_was_looked_at(
    api: Callers, make_task: Make, verb: str, way: str
) -> None:
    approval = Approval.objects.get(task_id=make_task(priority="P0").task_id)
    path = f"/approvals/{approval.approval_id}/{verb}"

    def decide(digest: str) -> Any:
        caller = api("agent", name="alice")
        return (
            caller.post(f"{path}?digest={digest}")
            if way == "query"
            else caller.post(path, {"digest": digest})
        )

    refused = decide("0" * 64)
    assert (refused.status_code, refused.json()["status"]) == (409, "pending")
    assert decide(approval.digest).status_code == 200


def test_the_history_is_newest_first_and_bounded(api: Callers, make_task: Make) -> None:
    ids = [make_task(priority="P1").approval_id for _ in range(4)]
    for approval_id, verb in zip(ids, ("approve", "reject", "approve"), strict=False):
        api("agent").post(f"/approvals/{approval_id}/{verb}")

    everything = api("user").get("/approvals/history").json()
    two = api("user").get("/approvals/history?limit=2").json()

    assert [approval["approval_id"] for approval in everything["history"]] == [
        ids[2],
        ids[1],
        ids[0],
    ]
    assert (everything["count"], two["count"]) == (3, 2)
    assert two["history"] == everything["history"][:2]


def test_an_expired_request_is_not_offered_any_more(api: Callers, make_task: Make) -> None:
    ApprovalPolicy.objects.update(expires_after=60)
    approval_id = make_task(priority="P0", now=timezone.now() - timedelta(seconds=61)).approval_id

    listed = api("user").get("/approvals/pending").json()
    answer = api("agent").post(f"/approvals/{approval_id}/approve")

    assert listed["count"] == 0
    assert (answer.status_code, answer.json()["detail"]) == (409, f"{approval_id} has expired.")


@pytest.mark.parametrize("mode", ["four-eyes", "strict", "human"])
def test_nobody_signs_what_they_asked_for_outside_the_guides_mode(
    api: Callers, make_task: Make, settings: Any, mode: str
) -> None:
    settings.ORCHESTRATOR_APPROVAL_MODE = mode
    path = f"/approvals/{make_task(priority='P0').approval_id}/approve"

    own = api("agent").post(path)
    others = api("agent", name="ops-agent-1").post(path)

    assert own.status_code == 403 and own.json()["detail"].endswith(".")
    assert others.status_code == (200 if mode == "four-eyes" else 403)


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_reading_an_address_that_decides_changes_nothing(
    api: Callers, make_task: Make, verb: str
) -> None:
    path = f"/approvals/{make_task(priority='P0').approval_id}/{verb}"

    answers = [api("admin").send(method, path) for method in ("GET", "HEAD", "PUT", "DELETE")]

    assert {answer.status_code for answer in answers} == {405}
    assert Approval.objects.get().status == "pending"


def test_a_body_cannot_say_who_decided(api: Callers, make_task: Make) -> None:
    approval_id = make_task(priority="P0").approval_id
    forged = {
        "approved_by": "root",
        "decided_by": "root",
        "decided_at": "2020-01-01T00:00:00Z",
        "status": "rejected",
    }

    api("agent").post(f"/approvals/{approval_id}/approve", forged)

    approval = Approval.objects.get()
    assert (approval.status, approval.decided_by) == ("approved", "dev-agent-1")
    assert approval.decided_at and approval.decided_at > timezone.now() - timedelta(minutes=1)


LADDER = [None, "user", "agent", "admin"]
ROLES = [
    ("GET", "/approvals/pending", "user"),
    ("GET", "/approvals/history", "user"),
    ("GET", "/approvals/{approval_id}", "user"),
    ("POST", "/approvals/{approval_id}/approve", "agent"),
    ("POST", "/approvals/{approval_id}/reject", "agent"),
]


@pytest.mark.parametrize("role", LADDER)
@pytest.mark.parametrize(("method", "path", "needed"), ROLES)
def test_every_door_asks_for_its_role(
    api: Callers, make_task: Make, method: str, path: str, needed: str, role: str | None
) -> None:
    approval_id = make_task(priority="P0").approval_id

    status = api(role).send(method, path.format(approval_id=approval_id)).status_code

    allowed = LADDER.index(role) >= LADDER.index(needed)
    assert status == (200 if allowed else 401 if role is None else 403)
    assert (Approval.objects.get().status == "pending") == (method == "GET" or not allowed)


@pytest.mark.parametrize(("verb", "other"), [("approve", "reject"), ("reject", "approve")])
def test_the_same_again_is_neither_refused_nor_written(
    api: Callers, make_task: Make, verb: str, other: str
) -> None:
    path = f"/approvals/{make_task(priority='P0').approval_id}"
    first = api("agent", name="agent-user").post(f"{path}/{verb}")
    events = Event.objects.count()

    again = api("agent", name="agent-user").post(f"{path}/{verb}", {"reason": "Once more"})

    assert (again.status_code, again.json()) == (200, {**first.json(), "repeated": True})
    assert Event.objects.count() == events
    assert api("agent", name="other-agent").post(f"{path}/{verb}").status_code == 409
    assert api("agent", name="agent-user").post(f"{path}/{other}").status_code == 409


def test_who_may_not_even_try_leaves_a_record(api: Callers, make_task: Make) -> None:
    path = f"/approvals/{make_task(priority='P0').approval_id}"

    codes = [
        api("user", name="viewer").post(f"{path}/{verb}").status_code
        for verb in ("approve", "approve", "reject")
    ]
    unknown = api("user", name="viewer").post("/approvals/approval_nowhere/approve")

    told = Event.objects.filter(event_type="approval.decision_refused").order_by("pk")
    assert codes == [403] * 3 and unknown.status_code == 403
    assert [(event.publisher, event.payload["wanted"]) for event in told] == [
        ("viewer", "approved"),
        ("viewer", "rejected"),
    ]
    assert told[0].payload["reason"] == "This needs the role agent."
