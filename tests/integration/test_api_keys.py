"""API keys: made once, shown once, revocable at once.

And the commands that make keys and tokens.
"""

import dataclasses
import json
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from events_app.models import Event
from orchestrator_site.access import services
from orchestrator_site.auth import api_keys, tokens
from orchestrator_site.core.actors import SYSTEM, Actor, Assurance, Door, Role
from orchestrator_site.core.errors import Conflict, Invalid, NotFound
from orchestrator_site.infra import cached_rows
from orchestrator_site.models import ApiKey, Principal

pytestmark = pytest.mark.django_db


def run(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def test_the_text_of_a_key_is_not_kept(admin: Actor, now: datetime) -> None:
    key, text = services.create_api_key(name="dev-agent-1", role="agent", by=admin, now=now)

    assert text.startswith(f"ork_{key.prefix}_") and len(text.rpartition("_")[2]) > 0
    assert (key.name, key.role, key.created_by, key.created_at) == (
        "dev-agent-1",
        "agent",
        "root-1",
        now,
    )
    stored = str(list(ApiKey.objects.values()))
    assert text not in stored and text[15:] not in stored


def test_two_keys_differ(now: datetime) -> None:
    texts = {
        services.create_api_key(name="a", role="agent", by=SYSTEM, now=now)[1] for _ in range(20)
    }

    assert len(texts) == 20 and all(len(text) >= 58 for text in texts)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "system"}, "name"),
        ({"name": "x" * 129}, "name"),
        ({"name": "a\x00"}, "name"),
        ({"role": "root"}, "role"),
        ({"rate_limits": {"nothing": 1}}, "rate_limits"),
        ({"rate_limits": {"tasks": 0}}, "rate_limits"),
        ({"rate_limits": {"tasks": True}}, "rate_limits"),
        ({"rate_limits": {"tasks": 1.5}}, "rate_limits"),
    ],
)
def test_a_bad_wish_names_the_field(now: datetime, changes: dict[str, Any], field: str) -> None:
    key: dict[str, Any] = {"name": "a", "role": "agent", "by": SYSTEM, "now": now}
    with pytest.raises(Invalid) as refusal:
        services.create_api_key(**key | changes)

    assert refusal.value.field == field
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(("seconds", "lives"), [(-1, True), (0, False), (1, False)])
def test_a_key_ends_when_it_says(now: datetime, seconds: int, lives: bool) -> None:
    ends = now + timedelta(hours=1)
    _, text = services.create_api_key(name="a", role="agent", expires_at=ends, by=SYSTEM, now=now)

    assert (
        api_keys.find_database_key(text, now=ends + timedelta(seconds=seconds)) is not None
    ) is lives


def test_a_key_that_would_have_ended_is_not_made(now: datetime) -> None:
    with pytest.raises(Invalid):
        services.create_api_key(name="a", role="agent", expires_at=now, by=SYSTEM, now=now)


def test_a_key_is_revoked_once(now: datetime) -> None:
    key, text = services.create_api_key(name="a", role="agent", by=SYSTEM, now=now)

    assert services.revoke_api_key(prefix=key.prefix, by=SYSTEM, now=now).revoked_at == now

    assert api_keys.find_database_key(text, now=now) is None
    with pytest.raises(Conflict):
        services.revoke_api_key(prefix=key.prefix, by=SYSTEM, now=now)
    with pytest.raises(NotFound):
        services.revoke_api_key(prefix="nothing", by=SYSTEM, now=now)


def test_a_key_in_use_is_kept_in_memory(now: datetime, django_assert_num_queries: Any) -> None:
    _, text = services.create_api_key(name="a", role="agent", by=SYSTEM, now=now)
    assert api_keys.find_database_key(text, now=now)

    with django_assert_num_queries(0):
        assert api_keys.find_database_key(text, now=now + timedelta(seconds=59))
        assert api_keys.find_database_key(f"{text}x", now=now) is None


@pytest.mark.parametrize(("seconds", "lives"), [(0.9, True), (1.0, False)])
def test_a_key_that_is_revoked_elsewhere_ends_within_a_second(
    now: datetime, seconds: float, lives: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = [100.0]
    monkeypatch.setattr(cached_rows.time, "monotonic", lambda: moment[0])
    _, text = services.create_api_key(name="a", role="agent", by=SYSTEM, now=now)
    assert api_keys.find_database_key(text, now=now)

    ApiKey.objects.update(revoked_at=now)  # sends no signal, as another process does not
    moment[0] += seconds

    assert (api_keys.find_database_key(text, now=now) is not None) is lives


def test_a_key_whose_role_or_rates_change_here_has_them_at_once(now: datetime) -> None:
    key, text = services.create_api_key(name="a", role="agent", by=SYSTEM, now=now)
    assert api_keys.find_database_key(text, now=now)

    key.role = "user"
    key.save()

    found = api_keys.find_database_key(text, now=now)
    assert found is not None and found.role == "user"


@pytest.mark.parametrize(
    "text", ["ork_", "ork__", "ork_a", "ork_a_b", "ork_é_b", "ork_" + "a" * 17 + "_b", "xrk_a_b"]
)
def test_a_text_that_is_no_key_finds_none(now: datetime, text: str) -> None:
    assert api_keys.find_database_key(text, now=now) is None


def test_the_command_makes_a_key_that_works(now: datetime) -> None:
    made = json.loads(
        run("create_api_key", "--name", "alice", "--role", "user", "--expires-days", "1", "--json")
    )

    key = api_keys.find_database_key(made["api_key"], now=now)
    assert key is not None and (key.name, key.role, key.prefix) == ("alice", "user", made["prefix"])
    assert made["expires_at"]
    assert "ork_" in run("create_api_key", "--name", "bob")


@pytest.mark.parametrize(
    "words",
    [
        ["create_api_key", "--name", "system"],
        ["create_api_key", "--name", "a", "--expires-days", "0"],
        ["create_api_key", "--name", "a", "--expires-days", "999999999999"],
        ["create_api_key", "--name", "a", "--role", "root"],
        ["create_token", "--user-id", ""],
        ["create_token", "--user-id", "console"],
        ["create_token", "--user-id", "a", "--hours", "0"],
    ],
    ids=" ".join,
)
def test_a_command_refuses_with_a_sentence(words: list[str]) -> None:
    with pytest.raises(CommandError):
        run(*words)


def test_the_command_signs_a_token_that_works() -> None:
    assert (
        tokens.read(run("create_token", "--user-id", "alice", "--role", "admin").strip()).role
        == Role.ADMIN
    )
    made = json.loads(run("create_token", "--user-id", "alice", "--hours", "2", "--json"))
    assert (made["expires_in"], made["role"]) == (7200, "agent")
    assert tokens.read(made["access_token"]).sub == "alice"


@pytest.mark.parametrize("door", ["service", "command", "command in a name"])
def test_a_key_made_or_revoked_leaves_one_event_with_who_did_it(
    admin: Actor, now: datetime, door: str
) -> None:
    User.objects.create_superuser("olga")
    name = ["--as", "olga"] if door == "command in a name" else []
    if door == "service":
        key, _ = services.create_api_key(name="ci-bot", role="agent", by=admin, now=now)
        services.revoke_api_key(prefix=key.prefix, by=admin, now=now)
    else:
        made = json.loads(run("create_api_key", "--name", "ci-bot", "--json", *name))
        assert "ci-bot" in run("revoke_api_key", made["prefix"], *name)

    key = ApiKey.objects.get()
    told = list(Event.objects.order_by("pk"))
    who = {"service": "root-1", "command": "command", "command in a name": "olga"}[door]
    assert [event.event_type for event in told] == ["auth.key_created", "auth.key_revoked"]
    assert {event.publisher for event in told} == {who} == {key.created_by}
    assert told[0].payload == {
        "prefix": key.prefix,
        "name": "ci-bot",
        "role": "agent",
        "expires_at": None,
        "rate_limits": {},
    }
    assert told[1].payload == {"prefix": key.prefix, "name": "ci-bot"}


def test_a_restriction_leaves_an_event_whatever_becomes_of_it(admin: Actor, now: datetime) -> None:
    row = services.save_principal(Principal(name="mallory", disabled=True), by=admin, now=now)
    row.disabled, row.role = False, "user"
    services.save_principal(row, by=admin, now=now)
    services.delete_principal(row, by=admin, now=now)

    told = [
        event.payload
        for event in Event.objects.filter(event_type="auth.principal_changed").order_by("pk")
    ]
    assert told == [
        {"name": "mallory", "did": "added", "changes": {"disabled": [None, True]}},
        {
            "name": "mallory",
            "did": "changed",
            "changes": {"disabled": [True, False], "role": [None, "user"]},
        },
        {"name": "mallory", "did": "removed", "changes": {"role": ["user", None]}},
    ]


@pytest.mark.parametrize("name", ["Alice", "ALICE", "\uff41lice"])
def test_a_name_that_is_anothers_but_for_its_spelling_is_refused(now: datetime, name: str) -> None:
    services.create_api_key(name="alice", role="agent", by=SYSTEM, now=now)

    with pytest.raises(Invalid):
        services.create_api_key(name=name, role="agent", by=SYSTEM, now=now)
    with pytest.raises(Invalid):
        services.save_principal(Principal(name=name, disabled=True), by=SYSTEM, now=now)


def test_an_operator_makes_keys_for_new_names_and_its_own_only(now: datetime) -> None:
    User.objects.create_user("anna", is_staff=True)
    olga = Actor("olga", Role.USER, Door.CONSOLE, Assurance.HUMAN, "account:olga")
    services.create_api_key(name="ops-agent-1", role="agent", by=SYSTEM, now=now)
    for name in ("olga", "helper-bot", "helper-bot"):
        services.create_api_key(name=name, role="agent", by=olga, now=now)

    for name in ("anna", "ops-agent-1"):
        with pytest.raises(services.NameTaken):
            services.create_api_key(name=name, role="agent", by=olga, now=now)
    root = dataclasses.replace(olga, name="root", role=Role.ADMIN)
    assert services.create_api_key(name="ops-agent-1", role="agent", by=root, now=now)


def test_restrictions_are_loaded_as_rows_that_restrict() -> None:
    from orchestrator_site.auth.principals import restrictions

    Principal.objects.create(name="free")
    Principal.objects.create(name="out", disabled=True)
    Principal.objects.create(name="low", role="user")

    assert restrictions() == {"out": (True, None), "low": (False, Role.USER)}
