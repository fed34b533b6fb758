"""Deciding in the console, one request or several, and that nothing else can be done."""

from typing import Any

import pytest

from approvals_app.models import Approval, ApprovalPolicy
from approvals_app.models import Status as ApprovalStatus
from events_app.models import Event
from orchestrator_site.core.actors import Actor
from tasks_app.models import Status
from tests.support import console, decisions
from tests.support.console import INBOX, Login, Make, decide, decide_many, said, waiting

login = console.login


def test_an_approver_approves_and_the_record_names_them(login: Login, make_task: Make) -> None:
    task = make_task(priority="P0")
    client = login("Approvers")

    answer = decide(client, waiting(task))

    approval = Approval.objects.get()
    assert answer["HX-Refresh"] == "true"
    assert "Approved: P0 bugfix. Nothing else waits for you." in said(client)
    assert (approval.status, approval.decided_by, approval.door) == ("approved", "dana", "console")
    assert (approval.decider_credential, approval.decision_reason) == (
        "account:dana",
        "Looked at it.",
    )
    assert Event.objects.get(event_type="approval.approved").origin == "human"
    task.refresh_from_db()
    assert not task.awaiting_approval


def test_a_rejection_needs_a_reason_and_cancels_the_task(login: Login, make_task: Make) -> None:
    task = make_task(priority="P0")
    client = login("Approvers")

    again = decide(client, waiting(task), "reject", reason=" ").content.decode()
    assert "Say why" in again
    assert waiting(task)
    decide(client, waiting(task), "reject", reason="Freeze.")

    task.refresh_from_db()
    assert (Approval.objects.get().decision_reason, task.status) == ("Freeze.", Status.CANCELLED)


@pytest.mark.parametrize("group", ["Viewers", "Operators"])
def test_who_may_not_decide_has_no_buttons_and_gets_no_further(
    login: Login, make_task: Make, group: str
) -> None:
    approval = waiting(make_task(priority="P0"))
    client = login(group)

    for page in (INBOX, f"{INBOX}{approval.approval_id}/change/", "/admin/"):
        assert "/approve/" not in client.get(page).content.decode()
    assert client.get(f"{INBOX}{approval.approval_id}/approve/").status_code == 403
    assert decide(client, approval).status_code == 403
    assert decide_many(client, [approval], "approve_selected", confirmed="yes").status_code == 403
    assert Approval.objects.get().status == "pending"


@pytest.mark.parametrize("token", ["", "0" * 64])
def test_a_decision_without_a_valid_token_is_refused(
    login: Login, make_task: Make, token: str
) -> None:
    approval = waiting(make_task(priority="P0"))
    client = login("Approvers", enforce_csrf_checks=True)
    client.get(f"{INBOX}{approval.approval_id}/approve/")

    answer = decide(client, approval, csrfmiddlewaretoken=token)

    assert answer.status_code == 403
    assert Approval.objects.get().status == "pending"


def test_a_late_decision_hears_the_outcome(
    login: Login, make_task: Make, ops: Actor, now: Any
) -> None:
    approval = waiting(make_task(priority="P0"))
    decisions.reject(approval_id=approval.approval_id, by=ops, now=now, reason="No.")
    client = login("Approvers")

    answer = decide(client, approval).content.decode()

    assert f"{approval.approval_id} is already rejected by ops-agent-1." in answer
    assert "Looked at it." in answer and "button dialog-submit" not in answer
    assert Approval.objects.get().status == "rejected"


@pytest.mark.parametrize("change", ["form", "row"])
def test_a_decision_on_something_else_than_was_shown_is_refused(
    login: Login, make_task: Make, change: str
) -> None:
    approval = waiting(make_task(priority="P0"))
    client = login("Approvers")
    if change == "row":
        Approval.objects.update(snapshot={**approval.snapshot, "payload": {"issue": "worse"}})

    answer = decide(
        client, approval, digest=approval.digest if change == "row" else "0" * 64
    ).content.decode()

    assert "is not what you were shown" in answer and "Looked at it." in answer
    assert Approval.objects.get().status == "pending"


def test_fields_added_by_hand_change_nothing(login: Login, make_task: Make) -> None:
    approval = waiting(make_task(priority="P0"))

    decide(
        login("Approvers"), approval, status="expired", decided_by="root", priority="P3", door="api"
    )

    approval.refresh_from_db()
    assert (approval.status, approval.decided_by, approval.priority, approval.door) == (
        "approved",
        "dana",
        "P0",
        "console",
    )


@pytest.mark.parametrize("mode", ["four-eyes", "strict", "human"])
def test_nobody_decides_their_own_request_here_either(
    login: Login, make_task: Make, settings: Any, mode: str
) -> None:
    settings.ORCHESTRATOR_APPROVAL_MODE = mode
    approval = waiting(make_task(priority="P0"))
    client = login("Approvers", name="dev-agent-1")

    answer = decide(client, approval).content.decode()

    assert "Nobody decides what they asked for" in answer
    assert Approval.objects.get().status == "pending"


def test_a_policy_for_admins_is_not_for_approvers(login: Login, make_task: Make) -> None:
    ApprovalPolicy.objects.update(decider_role="admin")
    approval = waiting(make_task(priority="P0"))
    client = login("Approvers")

    assert "needs the role admin" in decide(client, approval).content.decode()
    decide(login(None, name="root"), approval)

    assert Approval.objects.get().decided_by == "root"


def test_several_are_approved_after_a_second_look(login: Login, make_task: Make) -> None:
    approvals = [waiting(make_task(priority="P1")) for _ in range(3)]
    client = login("Approvers")

    look = decide_many(client, approvals, "approve_selected").content.decode()
    assert "Approve 3 requests?" in look
    assert Approval.objects.pending().count() == 3
    decide_many(client, approvals, "approve_selected", confirmed="yes", reason="All fine.")

    assert set(Approval.objects.values_list("status", "decision_reason")) == {
        ("approved", "All fine.")
    }
    page = said(client)
    assert "3 requests approved." in page and approvals[0].approval_id not in page


def test_rejecting_several_needs_a_reason(login: Login, make_task: Make) -> None:
    approvals = [waiting(make_task(priority="P1")), waiting(make_task(priority="P0"))]
    client = login("Approvers")

    assert (
        "Say why"
        in decide_many(
            client, approvals, "reject_selected", confirmed="yes", reason=""
        ).content.decode()
    )
    assert Approval.objects.pending().count() == 2
    decide_many(client, approvals, "reject_selected", confirmed="yes", reason="Freeze.")

    assert not Approval.objects.pending().exists()


@pytest.mark.parametrize(
    ("priorities", "mode", "name", "sentence"),
    [
        (["P1", "P0"], "guide", "dana", "A P0 request is approved on its own"),
        (["P1"] * 21, "guide", "dana", "At most 20 requests"),
        (["P1", "P1"], "four-eyes", "dev-agent-1", "Nobody decides what they asked for"),
    ],
)
def test_a_bulk_approval_that_may_not_be_is_refused_as_a_whole(
    login: Login,
    make_task: Make,
    settings: Any,
    priorities: list[str],
    mode: str,
    name: str,
    sentence: str,
) -> None:
    settings.ORCHESTRATOR_APPROVAL_MODE = mode
    approvals = [waiting(make_task(priority=priority)) for priority in priorities]
    client = login("Approvers", name=name)

    decide_many(client, approvals, "approve_selected", confirmed="yes", reason="ok")

    assert sentence in said(client)
    assert Approval.objects.filter(status=ApprovalStatus.PENDING).count() == len(priorities)


def test_of_several_those_decided_meanwhile_say_so(
    login: Login, make_task: Make, ops: Actor, now: Any
) -> None:
    first, second = waiting(make_task(priority="P1")), waiting(make_task(priority="P1"))
    decisions.approve(approval_id=first.approval_id, by=ops, now=now)
    client = login("Approvers")

    decide_many(client, [first, second], "approve_selected", confirmed="yes")

    page = said(client)
    assert f"{first.approval_id} is already approved by ops-agent-1." in page
    assert "1 request approved." in page and Approval.objects.get(pk=second.pk).status == "approved"
    assert Approval.objects.get(pk=first.pk).decided_by == "ops-agent-1"


def test_rows_that_are_no_rows_are_refused(login: Login) -> None:
    answer = login("Approvers").post(
        INBOX, {"action": "approve_selected", "index": "0", "_selected_action": "x"}
    )

    assert answer.status_code == 400
