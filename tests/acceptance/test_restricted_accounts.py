"""Disabled, or lowered, means at every door of an account."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client

from approvals_app.models import Approval
from events_app.models import Event
from orchestrator_site.infra import cached_rows
from orchestrator_site.models import Principal
from tasks_app.models import Task
from tests.conftest import Api
from tests.support import console

Make = Callable[..., Task]
Login = Callable[..., Client]
login = console.login
INBOX = "/admin/approvals_app/approval/"


def restrict(name: str, **terms: Any) -> None:
    """Restrict a principal, and let the second pass in which another process may not know it."""
    Principal.objects.create(name=name, **terms)
    cached_rows.forget_all()


def decide(client: Client, task: Task) -> Any:
    form = {
        "_form_submitted": "True",
        "reason": "",
        "digest": Approval.objects.get(task_id=task.task_id).digest,
    }
    return client.post(f"{INBOX}{task.approval_id}/approve/", form)


def statuses() -> set[str]:
    return set(Approval.objects.values_list("status", flat=True))


@pytest.mark.parametrize("spelling", ["anna", "Anna", "\uff41nna"])
def test_a_disabled_account_is_out_at_its_next_click(
    login: Login, make_task: Make, spelling: str
) -> None:
    client, task = login("Approvers", name="anna"), make_task(priority="P0")
    assert client.get(INBOX).status_code == 200

    restrict(spelling, disabled=True)

    assert client.get(INBOX).status_code == 302
    assert decide(client, task).status_code == 302
    assert statuses() == {"pending"}


def test_a_disabled_account_cannot_sign_in(login: Login) -> None:
    login("Approvers", name="anna")
    restrict("anna", disabled=True)

    answer = Client().post("/admin/login/", {"username": "anna", "password": "a-password-9"})

    assert answer.status_code == 200 and b"correct" in answer.content


def test_a_disabled_account_gets_no_token_by_password(login: Login, settings: Any) -> None:
    settings.DEVELOPMENT = False
    login(None, name="boss")
    basic = {"Authorization": "Basic " + base64.b64encode(b"boss:a-password-9").decode()}
    wanted = {"user_id": "ghost9", "role": "admin"}
    assert Api(basic).post("/auth/token", wanted).status_code == 200

    restrict("boss", disabled=True)

    assert Api(basic).post("/auth/token", wanted).status_code == 401


@pytest.mark.parametrize(("cap", "code"), [("agent", 403), ("user", 403)])
def test_a_lowered_administrator_gets_no_higher_token_by_password(
    login: Login, cap: str, code: int
) -> None:
    login(None, name="boss")
    restrict("boss", role=cap)
    basic = {"Authorization": "Basic " + base64.b64encode(b"boss:a-password-9").decode()}

    assert Api(basic).post("/auth/token", {"user_id": "ghost9", "role": "user"}).status_code == code


@pytest.mark.parametrize("command", ["approve", "reject"])
def test_a_disabled_account_decides_nothing_at_the_shell(
    login: Login, make_task: Make, command: str
) -> None:
    login("Approvers", name="anna")
    task = make_task(priority="P0")
    restrict("anna", disabled=True)

    with pytest.raises(CommandError, match="no active staff account"):
        call_command(command, task.approval_id, "--as", "anna", "--reason", "So")

    assert statuses() == {"pending"}


def test_an_account_lowered_to_user_only_looks(login: Login, make_task: Make) -> None:
    client, task = login("Approvers", name="anna"), make_task(priority="P0")

    restrict("anna", role="user")

    assert client.get(INBOX).status_code == 200
    assert decide(client, task).status_code == 403
    with pytest.raises(CommandError, match="permission"):
        call_command("approve", task.approval_id, "--as", "anna")
    assert statuses() == {"pending"}


def test_a_superuser_lowered_to_agent_decides_and_no_more(login: Login, make_task: Make) -> None:
    client, task = login(None, name="boss"), make_task(priority="P0")
    assert client.get("/admin/auth/user/").status_code == 200

    restrict("boss", role="agent")

    assert client.get("/admin/auth/user/").status_code == 403
    assert client.get("/admin/orchestrator_site/apikey/add/").status_code == 403
    assert decide(client, task).status_code == 302
    assert statuses() == {"approved"}


def test_a_lowered_superuser_who_changes_the_password_is_one_again_when_the_restriction_goes(
    login: Login,
) -> None:
    client = login(None, name="boss")
    restrict("boss", role="agent")
    form = {
        "old_password": "a-password-9",
        "new_password1": "another-pass-7",
        "new_password2": "another-pass-7",
    }

    assert client.post("/admin/password_change/", form).status_code == 302

    boss = User.objects.get(username="boss")
    assert boss.is_superuser and boss.check_password("another-pass-7")


@pytest.mark.parametrize("group", ["Operators", None])
def test_nobody_restricts_or_frees_their_own_name(login: Login, group: str | None) -> None:
    client = login(group, name="olga")
    form = {"name": "Olga", "role": "user", "note": ""}

    assert b"own name" in client.post("/admin/orchestrator_site/principal/add/", form).content
    restrict("olga", role="agent")
    row = Principal.objects.get()
    client.post(f"/admin/orchestrator_site/principal/{row.pk}/change/", {"role": "", "note": ""})
    client.post(f"/admin/orchestrator_site/principal/{row.pk}/delete/", {"post": "yes"})

    assert list(Principal.objects.values_list("name", "role")) == [("olga", "agent")]


def test_an_operator_does_not_lock_out_an_administrator(login: Login) -> None:
    login(None, name="boss")
    client = login("Operators", name="olga")

    page = client.post(
        "/admin/orchestrator_site/principal/add/", {"name": "boss", "disabled": "on", "role": ""}
    )

    assert b"administrator" in page.content and not Principal.objects.exists()
    assert Group.objects.filter(name="Operators").exists()


def test_an_account_that_may_not_decide_leaves_a_record_when_it_tries(
    login: Login, make_task: Make
) -> None:
    client, task = login("Operators", name="olga"), make_task(priority="P0")
    bulk = {"action": "reject_selected", "_selected_action": Approval.objects.get().pk}

    codes = [
        decide(client, task).status_code,
        decide(client, task).status_code,
        client.post(INBOX, bulk).status_code,
    ]

    told = Event.objects.filter(event_type="approval.decision_refused").order_by("pk")
    assert codes == [403] * 3 and statuses() == {"pending"}
    assert [(event.publisher, event.door, event.payload["wanted"]) for event in told] == [
        ("olga", "console", "approved"),
        ("olga", "console", "rejected"),
    ]
