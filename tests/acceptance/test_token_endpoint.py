"""POST /auth/token: who gets a token for whom."""

import base64
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone

from orchestrator_site.access import services
from orchestrator_site.core.actors import SYSTEM
from orchestrator_site.models import Principal

pytestmark = [pytest.mark.urls("tests.support.doors"), pytest.mark.django_db]
PATH = "/auth/token"
WANTED = {"user_id": "dev-agent-1", "role": "agent"}


def ask(body: Any = WANTED, address: str = "127.0.0.1", **headers: str) -> Any:
    client = Client(raise_request_exception=False, REMOTE_ADDR=address)
    return client.post(PATH, body, content_type="application/json", headers=headers)


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


@pytest.fixture
def production(settings: Any) -> None:
    settings.DEVELOPMENT = False


def test_the_guides_curl_gets_a_token_that_works() -> None:
    answer = ask()

    assert answer.status_code == 200
    body = answer.json()
    assert body == {
        "success": True,
        "access_token": body["token"],
        "token": body["token"],
        "token_type": "bearer",
        "expires_in": 86400,
        "user_id": "dev-agent-1",
        "role": "agent",
    }
    claims = jwt.decode(body["token"], options={"verify_signature": False})
    assert set(claims) == {"sub", "role", "exp", "iat"} and claims["exp"] - claims["iat"] == 86400
    assert (
        Client().get("/things/x", headers={"Authorization": f"Bearer {body['token']}"}).status_code
        == 200
    )


CLOSED: dict[str, tuple[dict[str, Any], int]] = {
    "another machine": ({"address": "192.0.2.1"}, 401),
    "another machine by IPv6": ({"address": "2001:db8::1"}, 401),
    "no address": ({"address": ""}, 401),
    "role admin": ({"body": {**WANTED, "role": "admin"}}, 401),
    "forwarded for": ({"X-Forwarded-For": "127.0.0.1"}, 401),
    "forwarded": ({"Forwarded": "for=127.0.0.1"}, 401),
    "real ip": ({"X-Real-IP": "127.0.0.1"}, 401),
    "via": ({"Via": "1.1 proxy"}, 401),
    "forwarded proto": ({"X-Forwarded-Proto": "https"}, 401),
    "foreign origin": ({"Origin": "https://evil.example"}, 403),
    "foreign port": ({"Origin": "http://localhost:3000"}, 403),
    "null origin": ({"Origin": "null"}, 403),
    "origin and host rebound": ({"Origin": "http://evil.example", "Host": "evil.example"}, 400),
}


@pytest.mark.parametrize("name", CLOSED)
def test_the_open_door_is_for_this_machine_only(name: str) -> None:
    options, status = CLOSED[name]

    answer = ask(**options)

    assert answer.status_code == status
    assert "token" not in answer.json()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1"])
def test_the_open_door_knows_this_machine(address: str) -> None:
    assert ask(address=address).status_code == 200


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000"])
def test_the_open_door_serves_its_own_pages(host: str) -> None:
    assert ask(Origin=f"http://{host}", Host=host).status_code == 200


def test_outside_development_the_door_is_closed(production: None) -> None:
    assert ask().status_code == 401
    assert ask({}).status_code == 401


@pytest.mark.parametrize(
    ("role", "name", "wanted", "status"),
    [
        ("admin", "root-1", {"user_id": "anyone", "role": "admin"}, 200),
        ("admin", "root-1", {"user_id": "dev-agent-1", "role": "user"}, 200),
        ("agent", "dev-agent-1", {"user_id": "dev-agent-1", "role": "agent"}, 200),
        ("agent", "dev-agent-1", {"user_id": "dev-agent-1", "role": "user"}, 200),
        ("user", "dev-agent-1", {"user_id": "dev-agent-1", "role": "user"}, 200),
        ("agent", "dev-agent-1", {"user_id": "dev-agent-1", "role": "admin"}, 403),
        ("agent", "dev-agent-1", {"user_id": "dev-agent-2", "role": "agent"}, 403),
        ("user", "dev-agent-1", {"user_id": "dev-agent-1", "role": "agent"}, 403),
    ],
)
def test_the_ladder_of_roles(
    api: Callable[..., Any],
    production: None,
    role: str,
    name: str,
    wanted: dict[str, str],
    status: int,
) -> None:
    answer = api(role, name=name).post(PATH, wanted)

    assert answer.status_code == status


def test_a_key_gets_a_token_for_its_owner(production: None) -> None:
    _, text = services.create_api_key(name="alice", role="agent", by=SYSTEM, now=timezone.now())

    assert ask({"user_id": "alice", "role": "agent"}, **{"X-API-Key": text}).status_code == 200
    assert ask({"user_id": "bob", "role": "agent"}, **{"X-API-Key": text}).status_code == 403


def test_a_lowered_admin_mints_no_longer_for_others(api: Callable[..., Any]) -> None:
    Principal.objects.create(name="root-1", role="agent")

    assert (
        api("admin", name="root-1").post(PATH, {"user_id": "anyone", "role": "user"}).status_code
        == 403
    )


def test_a_staff_account_gets_a_token_by_password(production: None) -> None:
    users = get_user_model().objects
    users.create_superuser("root", password="p:w")
    users.create_user("clerk", password="pw", is_staff=True)
    users.create_user("nobody", password="pw")
    users.create_user("gone", password="pw", is_staff=True, is_active=False)

    assert (
        ask({"user_id": "any", "role": "admin"}, Authorization=basic("root", "p:w")).status_code
        == 200
    )
    assert (
        ask({"user_id": "clerk", "role": "user"}, Authorization=basic("clerk", "pw")).status_code
        == 200
    )
    assert (
        ask({"user_id": "clerk", "role": "agent"}, Authorization=basic("clerk", "pw")).status_code
        == 403
    )
    assert ask(Authorization=basic("root", "wrong")).status_code == 401
    assert ask(Authorization=basic("nobody", "pw")).status_code == 401
    assert ask(Authorization=basic("gone", "pw")).status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic !",
        "Basic /w==",
        basic("a\x00", "b"),
        basic("root", "p\x00"),
        "Bearer x",
        "Digest x",
    ],
)
def test_a_bad_credential_is_refused_even_at_the_open_door(header: str) -> None:
    answer = ask(Authorization=header)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"]


def test_basic_and_a_key_together_are_ambiguous() -> None:
    answer = ask(Authorization=basic("a", "b"), **{"X-API-Key": "x"})

    assert answer.status_code == 401 and "ambiguous" in answer.json()["detail"]


def test_basic_opens_no_other_door() -> None:
    get_user_model().objects.create_superuser("root", password="pw")

    assert (
        Client().get("/things/x", headers={"Authorization": basic("root", "pw")}).status_code == 401
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"role": None}, "role"),
        ({"role": ""}, "role"),
        ({"role": "root"}, "role"),
        ({"role": "ADMIN"}, "role"),
        ({"role": ["agent"]}, "role"),
        ({"user_id": None}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": " a"}, "user_id"),
        ({"user_id": "x" * 129}, "user_id"),
        ({"user_id": "a\nb"}, "user_id"),
        ({"user_id": 5}, "user_id"),
        ({"user_id": "system"}, "user_id"),
        ({"user_id": "Console"}, "user_id"),
    ],
)
def test_bad_wishes_name_the_field(
    api: Callable[..., Any], change: dict[str, Any], field: str
) -> None:
    body = {name: value for name, value in {**WANTED, **change}.items() if value is not None}

    answer = api("admin").post(PATH, body)

    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]
    assert answer.json()["detail"].startswith(f"{field}: ")


@pytest.mark.usefixtures("clock")
def test_the_eleventh_try_in_a_minute_from_one_address_is_refused(
    settings: Any, api: Callable[..., Any]
) -> None:
    settings.RATE_LIMIT_SCALE = 1

    codes = [ask(Authorization="Bearer wrong").status_code for _ in range(5)]
    codes += [api("admin", name=f"admin-{n}").post(PATH, WANTED).status_code for n in range(6)]

    assert codes == [401] * 5 + [200] * 5 + [429]
    assert ask(address="127.0.0.2").status_code == 200


def test_get_is_not_allowed() -> None:
    answer = Client().get(PATH)

    assert answer.status_code == 405 and answer.headers["Allow"] == "POST"
