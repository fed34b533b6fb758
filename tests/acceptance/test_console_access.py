"""The console where it says who may knock: API keys, principals, accounts."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from events_app.models import Event
from orchestrator_site.console.abilities import ABILITIES
from orchestrator_site.models import ApiKey
from tests.support import console

Login = Callable[..., Client]
login = console.login
SUBMITTED = {"_form_submitted": "True"}


def config_changes() -> list[dict[str, Any]]:
    told = Event.objects.filter(event_type="system.config_changed").order_by("pk")
    return list(told.values_list("payload", flat=True))


def new_key(client: Client, **form: str) -> Any:
    given = {"name": "dev-agent-7", "role": "agent", "expires_at_0": "", "expires_at_1": "", **form}
    return client.post("/admin/orchestrator_site/apikey/add/", given, follow=True)


def test_a_key_is_shown_once_works_and_is_revoked(login: Login) -> None:
    client = login("Operators", name="olga")

    shown_first = new_key(client)
    page = shown_first.content.decode()
    text = re.findall(r"ork_[0-9a-f]+_[\w-]{20,}", page)[0]
    key = ApiKey.objects.get()
    caller = Client(headers={"X-API-Key": text})
    assert (key.name, key.created_by) == ("dev-agent-7", "olga")
    assert caller.get("/approvals/pending").status_code == 200
    assert "no-store" in shown_first.headers["Cache-Control"]
    for path in ("", f"{key.pk}/change/"):
        shown = client.get(f"/admin/orchestrator_site/apikey/{path}").content.decode()
        assert text not in shown and key.secret_hash not in shown
    client.post(f"/admin/orchestrator_site/apikey/{key.pk}/revoke/", SUBMITTED)

    assert caller.get("/approvals/pending").status_code == 401
    told = Event.objects.filter(event_type__startswith="auth.").order_by("pk")
    assert [event.event_type for event in told] == ["auth.key_created", "auth.key_revoked"]
    assert {(event.publisher, event.origin, event.payload["prefix"]) for event in told} == {
        ("olga", "human", key.prefix)
    }
    assert text not in str(config_changes()) and key.secret_hash not in str(config_changes())


def test_loading_the_page_of_a_new_key_again_makes_no_other(login: Login) -> None:
    client = login("Operators")
    shown = new_key(client)

    again = client.get(shown.redirect_chain[-1][0])

    assert shown.redirect_chain[-1][1] == 302 and "ork_" in again.content.decode()
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize(
    "form",
    [
        {"name": "system"},
        {"name": " "},
        {"role": "root"},
        {"expires_at_0": "2020-01-01", "expires_at_1": "00:00:00"},
    ],
)
def test_a_key_that_cannot_be_is_refused(login: Login, form: dict[str, str]) -> None:
    assert new_key(login(None), **form).status_code == 200
    assert not ApiKey.objects.exists()


def test_an_operator_makes_no_key_of_an_administrator(login: Login) -> None:
    new_key(login("Operators"), role="admin")
    assert not ApiKey.objects.exists()

    new_key(login(None, name="root"), role="admin")
    assert ApiKey.objects.get().role == "admin"


@pytest.mark.parametrize("group", ["Viewers", "Approvers"])
def test_others_make_and_revoke_no_keys(login: Login, group: str, now: datetime) -> None:
    key = ApiKey.objects.create(
        prefix="abc", secret_hash="0" * 64, name="dev", role="agent", created_at=now, created_by="x"
    )
    client = login(group)

    assert new_key(client).status_code == 403
    assert (
        client.post(f"/admin/orchestrator_site/apikey/{key.pk}/revoke/", SUBMITTED).status_code
        == 403
    )
    assert ApiKey.objects.filter(revoked_at=None).count() == 1


def test_a_disabled_principal_is_out(login: Login, api: Callable[..., Any]) -> None:
    assert api("agent").get("/approvals/pending").status_code == 200

    form = {"name": "dev-agent-1", "disabled": "on", "role": "", "note": ""}
    login("Operators").post("/admin/orchestrator_site/principal/add/", form)

    assert api("agent").get("/approvals/pending").status_code == 401
    told = Event.objects.get(event_type="auth.principal_changed")
    assert (told.publisher, told.payload["name"], told.payload["did"]) == (
        "dana",
        "dev-agent-1",
        "added",
    )
    assert told.payload["changes"] == {"disabled": [None, True]}


def test_a_superuser_makes_an_account_that_can_sign_in(login: Login) -> None:
    approvers = Group.objects.get(name="Approvers")
    form = {
        "username": "newbie",
        "password1": "sturdy-pass-7",
        "password2": "sturdy-pass-7",
        "groups": [approvers.pk],
    }

    login(None).post("/admin/auth/user/add/", {**form, "usable_password": "true"})

    client = Client()
    assert client.login(username="newbie", password="sturdy-pass-7")
    assert client.get("/admin/approvals_app/approval/").status_code == 200
    assert "sturdy-pass-7" not in str(config_changes())
    assert config_changes()[0]["changes"]["groups"] == [None, ["Approvers"]]


def test_an_account_does_not_take_the_name_of_the_service(login: Login) -> None:
    form = {"username": "System", "password1": "sturdy-pass-7", "password2": "sturdy-pass-7"}

    login(None).post("/admin/auth/user/add/", {**form, "usable_password": "true"})

    assert not User.objects.filter(username__iexact="system").exists()


def permissions_of(name: str) -> set[str]:
    rows = Group.objects.get(name=name).permissions.values_list(
        "content_type__app_label", "codename"
    )
    return {f"{app}.{codename}" for app, codename in rows}


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("Viewers", ["look"]),
        ("Approvers", ["look", "decide"]),
        ("Operators", ["look", "steer", "rules", "webhooks", "access"]),
    ],
)
def test_a_group_is_shown_and_kept_as_what_its_accounts_may_do(
    login: Login, name: str, may: list[str]
) -> None:
    client, before = login(None), permissions_of(name)
    address = f"/admin/auth/group/{Group.objects.get(name=name).pk}/change/"

    page = client.get(address).content.decode()
    client.post(address, {"name": name, "may": may})

    ticked = re.findall(r'name="may" value="(\w+)"[^>]*\schecked[\s>]', page)
    assert ticked == may and permissions_of(name) == before
    assert "<select" not in page.partition('id="group_form"')[2].partition("</form>")[0]


def test_a_group_is_given_and_loses_an_ability(login: Login) -> None:
    client, group = login(None), Group.objects.get(name="Viewers")
    other = Permission.objects.get(codename="view_user")
    group.permissions.add(other)
    address = f"/admin/auth/group/{group.pk}/change/"

    client.post(address, {"name": "Viewers", "may": ["decide"]})
    given = permissions_of("Viewers")
    client.post(address, {"name": "Viewers", "may": ["look"]})

    assert {
        "approvals_app.decide_approval",
        "approvals_app.view_approval",
        "auth.view_user",
    } <= given
    assert permissions_of("Viewers") == given - {"approvals_app.decide_approval"}
    changes = [change["changes"]["may"] for change in config_changes()]
    assert changes == [[["look"], ["look", "decide"]], [["look", "decide"], ["look"]]]


def test_the_groups_of_an_account_are_boxes(login: Login) -> None:
    page = login(None).get("/admin/auth/user/add/").content.decode()

    assert len(re.findall(r'type="checkbox" name="groups"', page)) == 3


def test_the_pages_of_accounts_call_them_accounts(login: Login) -> None:
    client = login(None)
    pages = {
        place: client.get(f"/admin/auth/user/{place}").content.decode()
        for place in ("", "add/", f"{User.objects.get().pk}/change/")
    }

    words = {
        place: re.sub(r"<(script|style).*?</\1>|<[^>]+>", "", page, flags=re.S)
        for place, page in pages.items()
    }

    assert 'title="Add account"' in pages[""] and "Add account" in words["add/"]
    for place, shown in words.items():
        assert not re.findall(r".{20}\busers?\b", shown, re.I), place


def test_every_page_of_the_console_belongs_to_an_ability() -> None:
    seen = ABILITIES["look"][1]
    pages = {
        f"{model._meta.app_label}.view_{model._meta.model_name}" for model in admin.site._registry
    }

    assert pages - seen == {"auth.view_user", "auth.view_group"}
