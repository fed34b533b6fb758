"""API keys: made once, shown once, revocable at once; and the commands that make keys and tokens."""

import json
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from orchestrator_site import services
from orchestrator_site.actors import SYSTEM, Actor, Role
from orchestrator_site.api import keys, tokens
from orchestrator_site.errors import Conflict, Invalid, NotFound
from orchestrator_site.models import ApiKey, Principal

pytestmark = pytest.mark.django_db


def run(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def test_the_text_of_a_key_is_not_kept(admin: Actor, now: datetime) -> None:
    key, text = services.create_api_key(name="dev-agent-1", role="agent", by=admin, now=now)

    assert text.startswith(f"ork_{key.prefix}_") and len(text.rpartition("_")[2]) > 0
    assert (key.name, key.role, key.created_by, key.created_at) == ("dev-agent-1", "agent", "root-1", now)
    stored = str(list(ApiKey.objects.values()))
    assert text not in stored and text[15:] not in stored


def test_two_keys_differ(now: datetime) -> None:
    texts = {services.create_api_key(name="a", role="agent", by=SYSTEM, now=now)[1] for _ in range(20)}

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
    with pytest.raises(Invalid) as refusal:
        services.create_api_key(**{"name": "a", "role": "agent", "by": SYSTEM, "now": now} | changes)

    assert refusal.value.field == field
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(("seconds", "lives"), [(-1, True), (0, False), (1, False)])
def test_a_key_ends_when_it_says(now: datetime, seconds: int, lives: bool) -> None:
    ends = now + timedelta(hours=1)
    _, text = services.create_api_key(name="a", role="agent", expires_at=ends, by=SYSTEM, now=now)

    assert (keys.find_database_key(text, now=ends + timedelta(seconds=seconds)) is not None) is lives


def test_a_key_that_would_have_ended_is_not_made(now: datetime) -> None:
    with pytest.raises(Invalid):
        services.create_api_key(name="a", role="agent", expires_at=now, by=SYSTEM, now=now)


def test_a_key_is_revoked_once(now: datetime) -> None:
    key, text = services.create_api_key(name="a", role="agent", by=SYSTEM, now=now)

    assert services.revoke_api_key(prefix=key.prefix, by=SYSTEM, now=now).revoked_at == now

    assert keys.find_database_key(text, now=now) is None
    with pytest.raises(Conflict):
        services.revoke_api_key(prefix=key.prefix, by=SYSTEM, now=now)
    with pytest.raises(NotFound):
        services.revoke_api_key(prefix="nothing", by=SYSTEM, now=now)


@pytest.mark.parametrize("text", ["ork_", "ork__", "ork_a", "ork_a_b", "ork_é_b", "ork_" + "a" * 17 + "_b", "xrk_a_b"])
def test_a_text_that_is_no_key_finds_none(now: datetime, text: str) -> None:
    assert keys.find_database_key(text, now=now) is None


def test_the_command_makes_a_key_that_works(now: datetime) -> None:
    made = json.loads(run("create_api_key", "--name", "alice", "--role", "user", "--expires-days", "1", "--json"))

    key = keys.find_database_key(made["api_key"], now=now)
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
    assert tokens.read(run("create_token", "--user-id", "alice", "--role", "admin").strip()).role == Role.ADMIN
    made = json.loads(run("create_token", "--user-id", "alice", "--hours", "2", "--json"))
    assert (made["expires_in"], made["role"]) == (7200, "agent")
    assert tokens.read(made["access_token"]).sub == "alice"


def test_restrictions_are_loaded_as_rows_that_restrict() -> None:
    from orchestrator_site.api.authentication import restrictions

    Principal.objects.create(name="free")
    Principal.objects.create(name="out", disabled=True)
    Principal.objects.create(name="low", role="user")

    assert restrictions() == {"out": (True, None), "low": (False, Role.USER)}
