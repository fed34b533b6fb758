"""Who is calling: good credentials name a caller, every other one is a 401 with a challenge."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone

from orchestrator_site.access import services
from orchestrator_site.auth import api_keys
from orchestrator_site.auth.authentication import authenticate_headers
from orchestrator_site.core.actors import SYSTEM, Actor, Role
from orchestrator_site.infra import cached_rows
from orchestrator_site.models import ApiKey, Principal

pytestmark = [pytest.mark.urls("tests.support.doors"), pytest.mark.django_db]
DEV_KEY = "dev:key-of-the-dev-agent"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put two keys into the environment."""
    monkeypatch.setenv("ORCHESTRATOR_API_KEY_DEV_AGENT", f"{DEV_KEY}:agent")
    monkeypatch.setenv("ORCHESTRATOR_API_KEY_ADMIN", "the-admins-key:admin")
    api_keys.environment_keys.cache_clear()
    yield
    api_keys.environment_keys.cache_clear()


def token(**changes: Any) -> str:
    now = int(time.time())
    claims = {"sub": "dev-agent-1", "role": "agent", "exp": now + 3600, "iat": now, **changes}
    return jwt.encode(claims, django_settings.ORCHESTRATOR_JWT_SECRET, algorithm="HS256")


def call(headers: dict[str, str], path: str = "/things/x") -> Any:
    return Client(raise_request_exception=False).get(path, headers=headers)


def new_key(**changes: Any) -> tuple[ApiKey, str]:
    options = {
        "name": "dev-agent-1",
        "role": Role.AGENT,
        "by": SYSTEM,
        "now": timezone.now(),
        **changes,
    }
    return services.create_api_key(**options)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_token_names_its_sub(scheme: str) -> None:
    answer = call({"Authorization": f"{scheme} {token()}"})

    assert answer.status_code == 200
    assert answer.json()["name"] == "dev-agent-1"


def test_a_key_of_the_environment_names_its_owner_in_lower_case(environment: None) -> None:
    answer = call({"X-API-Key": DEV_KEY})

    assert answer.status_code == 200
    assert answer.json() == {"success": True, "name": "dev_agent", "payload": {"role": "agent"}}


def test_a_key_of_the_database_names_its_owner() -> None:
    _, text = new_key(name="alice", role=Role.USER)

    assert call({"X-API-Key": text}).json()["name"] == "alice"


def test_every_credential_says_how_well_it_ties_its_bearer(environment: None) -> None:
    key, text = new_key(expires_at=timezone.now() + timedelta(hours=1), rate_limits={"tasks": 50})

    shared = authenticate_headers({"authorization": f"Bearer {token()}"})
    mine = authenticate_headers({"x-api-key": DEV_KEY})
    kept = authenticate_headers({"x-api-key": text})

    assert (shared.assurance, shared.credential, shared.origin) == ("shared", "jwt", "agent")
    assert (mine.assurance, mine.credential, mine.expires_at) == ("personal", "key:dev_agent", None)
    assert (kept.credential, kept.rate_limits) == (f"key:{key.prefix}", (("tasks", 50),))
    assert key.expires_at and kept.expires_at == int(key.expires_at.timestamp())


BAD_HEADERS: dict[str, Callable[[], dict[str, str]]] = {
    "none": lambda: {},
    "bearer and nothing": lambda: {"Authorization": "Bearer"},
    "bearer and a blank": lambda: {"Authorization": "Bearer "},
    "an empty header": lambda: {"Authorization": ""},
    "basic": lambda: {"Authorization": "Basic YTpi"},
    "two tokens": lambda: {"Authorization": f"Bearer {token()} {token()}"},
    "two headers in one": lambda: {"Authorization": f"Bearer {token()},Bearer {token()}"},
    "no scheme": lambda: {"Authorization": token()},
    "a token not ASCII": lambda: {"Authorization": "Bearer \xff\xfe"},
    "1 MB": lambda: {"Authorization": "Bearer " + "x" * 1_000_000},
    "expired": lambda: {"Authorization": f"Bearer {token(exp=int(time.time()) - 60)}"},
    "milliseconds": lambda: {"Authorization": f"Bearer {token(exp=int(time.time() * 1000))}"},
    "iat in two minutes": lambda: {"Authorization": f"Bearer {token(iat=int(time.time()) + 120)}"},
    "unknown role": lambda: {"Authorization": f"Bearer {token(role='root')}"},
    "role a list": lambda: {"Authorization": f"Bearer {token(role=['admin'])}"},
    "reserved sub": lambda: {"Authorization": f"Bearer {token(sub='system')}"},
    "an empty key": lambda: {"X-API-Key": ""},
    "an unknown key": lambda: {"X-API-Key": "nobody"},
    "a key with its role": lambda: {"X-API-Key": f"{DEV_KEY}:agent"},
    "a key with a blank": lambda: {"X-API-Key": f"{DEV_KEY} "},
    "a key in capitals": lambda: {"X-API-Key": DEV_KEY.upper()},
    "a key twice": lambda: {"X-API-Key": f"{DEV_KEY},{DEV_KEY}"},
    "a key not ASCII": lambda: {"X-API-Key": "é"},
    "a key with NUL": lambda: {"X-API-Key": "ork_a\x00b_c"},
    "an unknown prefix": lambda: {"X-API-Key": "ork_0123456789_secret"},
    "a prefix with a wrong secret": lambda: {"X-API-Key": new_key()[1] + "x"},
    "a key that has ended": lambda: {"X-API-Key": ended_key()},
    "a revoked key": lambda: {"X-API-Key": revoked_key()},
    "token and key": lambda: {"Authorization": f"Bearer {token()}", "X-API-Key": DEV_KEY},
    "token and empty key": lambda: {"Authorization": f"Bearer {token()}", "X-API-Key": ""},
}


def ended_key() -> str:
    now = timezone.now()
    return new_key(expires_at=now - timedelta(seconds=1), now=now - timedelta(hours=1))[1]


def revoked_key() -> str:
    key, text = new_key()
    services.revoke_api_key(prefix=key.prefix, by=SYSTEM, now=timezone.now())
    return text


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_bad_credentials_are_a_401_with_a_challenge(environment: None, name: str) -> None:
    headers = BAD_HEADERS[name]()

    answer = call(headers)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.headers["X-RateLimit-Limit"]
    assert list(answer.json()) == ["detail"] and answer.json()["detail"].endswith(".")
    assert not any(
        len(value) > 8 and value in answer.content.decode() for value in headers.values()
    )


def test_both_credentials_together_are_called_ambiguous(environment: None) -> None:
    answer = call({"Authorization": f"Bearer {token()}", "X-API-Key": DEV_KEY})

    assert "ambiguous" in answer.json()["detail"]


@pytest.mark.parametrize(
    "path", ["/things/x?token={0}", "/things/x?access_token={0}", "/things/x?api_key=" + DEV_KEY]
)
def test_a_credential_in_the_address_does_not_count(environment: None, path: str) -> None:
    assert call({}, path.format(token())).status_code == 401


def test_a_credential_in_a_cookie_does_not_count() -> None:
    assert call({"Cookie": f"token={token()}; Authorization=Bearer {token()}"}).status_code == 401


def test_a_console_session_does_not_open_the_api() -> None:
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root"))

    assert client.get("/things/x").status_code == 401


def test_a_revoked_key_is_refused_at_once() -> None:
    key, text = new_key()
    assert call({"X-API-Key": text}).status_code == 200

    services.revoke_api_key(prefix=key.prefix, by=SYSTEM, now=timezone.now())

    assert call({"X-API-Key": text}).status_code == 401


@pytest.mark.parametrize("door", ["token", "environment key", "database key"])
def test_a_disabled_principal_is_refused_at_once(environment: None, door: str) -> None:
    headers, name = {
        "token": ({"Authorization": f"Bearer {token()}"}, "dev-agent-1"),
        "environment key": ({"X-API-Key": DEV_KEY}, "dev_agent"),
        "database key": ({"X-API-Key": new_key()[1]}, "dev-agent-1"),
    }[door]
    assert call(headers).status_code == 200

    record = Principal.objects.create(name=name, disabled=True)

    assert call(headers).status_code == 401
    record.disabled = False
    record.save()
    assert call(headers).status_code == 200


@pytest.mark.parametrize(
    ("said", "cap", "counts"),
    [
        ("admin", "user", "user"),
        ("agent", "user", "user"),
        ("agent", "admin", "agent"),
        ("user", "agent", "user"),
    ],
)
def test_the_lower_of_two_roles_counts(said: str, cap: str, counts: str) -> None:
    Principal.objects.create(name="dev-agent-1", role=cap)

    assert authenticate_headers({"authorization": f"Bearer {token(role=said)}"}).role == counts


def test_roles_are_a_ladder(api: Callable[..., Any]) -> None:
    codes = {
        role: api(role).patch("/things/x/status?status=done").status_code
        for role in ("admin", "agent", "user")
    }

    assert codes == {"admin": 200, "agent": 200, "user": 403}


def test_an_action_that_names_no_role_is_for_admins(api: Callable[..., Any]) -> None:
    assert [api(role).get("/unnamed").status_code for role in ("admin", "agent", "user", None)] == [
        200,
        403,
        403,
        401,
    ]


def test_a_public_action_serves_everybody_as_who_they_are(api: Callable[..., Any]) -> None:
    assert api(None).get("/things").json()["name"] is None
    assert api("user", name="dashboard").get("/things").json()["name"] == "dashboard"
    assert call({"Authorization": "Bearer expired"}, "/things").json()["name"] is None


def test_the_use_of_a_key_is_noted_once_a_minute(django_assert_num_queries: Any) -> None:
    key, text = new_key()
    authenticate_headers({"x-api-key": text})
    key.refresh_from_db()
    first = key.last_used_at

    with django_assert_num_queries(0):
        authenticate_headers({"x-api-key": text})

    key.refresh_from_db()
    assert first is not None and key.last_used_at == first
    ApiKey.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
    cached_rows.forget_all()
    authenticate_headers({"x-api-key": text})
    key.refresh_from_db()
    assert key.last_used_at > first


def test_a_token_costs_no_query(django_assert_num_queries: Any) -> None:
    headers = {"authorization": f"Bearer {token()}"}
    authenticate_headers(headers)

    with django_assert_num_queries(0):
        found: Actor = authenticate_headers(headers)

    assert found.name == "dev-agent-1"
