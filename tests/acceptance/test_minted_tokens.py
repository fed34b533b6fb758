"""Tokens that were made with a key or by an account: never more than that, never longer."""

import base64
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from events_app.streams.broadcaster import refusal
from events_app.streams.sse import StreamRequest
from orchestrator_site.access import services
from orchestrator_site.api import throttling
from orchestrator_site.auth import api_keys
from orchestrator_site.auth.authentication import authenticate_headers
from orchestrator_site.core.actors import SYSTEM, Actor, Role
from orchestrator_site.infra import cached_rows
from orchestrator_site.models import ApiKey, Principal
from tests.conftest import Api, actor, token

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def production(settings: Any) -> None:
    """No token without a credential."""
    settings.DEVELOPMENT = False


def new_key(**changes: Any) -> tuple[ApiKey, str]:
    options = {"name": "alice", "role": Role.ADMIN, "by": SYSTEM, "now": timezone.now(), **changes}
    return services.create_api_key(**options)


def answer_to(credential: dict[str, str], user_id: str = "alice", role: str = "agent") -> Any:
    return Api(credential).post("/auth/token", {"user_id": user_id, "role": role})


def minted(
    credential: dict[str, str], user_id: str = "alice", role: str = "agent"
) -> dict[str, str]:
    answer = answer_to(credential, user_id, role)
    assert answer.status_code == 200, answer.content
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def claims_of(credential: dict[str, str]) -> dict[str, Any]:
    return jwt.decode(credential["Authorization"].split()[1], options={"verify_signature": False})


def who(credential: dict[str, str]) -> Actor:
    return authenticate_headers({name.lower(): value for name, value in credential.items()})


def code(credential: dict[str, str]) -> int:
    cached_rows.forget_all()  # a second later
    return int(Api(credential).get("/tasks").status_code)


@pytest.mark.parametrize("end", ["revoked", "expired", "disabled", "gone"])
def test_a_key_takes_its_tokens_with_it(end: str) -> None:
    key, text = new_key()
    first = minted({"X-API-Key": text}, "tmp-1", "admin")
    second = minted(first, "tmp-1", "admin")
    assert (code(first), code(second)) == (200, 200)

    if end == "revoked":
        services.revoke_api_key(prefix=key.prefix, by=SYSTEM, now=timezone.now())
    elif end == "expired":
        ApiKey.objects.update(expires_at=timezone.now())
    elif end == "disabled":
        Principal.objects.create(name="alice", disabled=True)
    else:
        ApiKey.objects.all().delete()

    assert (code(first), code(second)) == (401, 401)
    assert "token" not in answer_to(first, "tmp-1", "admin").json()


def test_a_key_that_left_the_environment_takes_its_tokens_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_API_KEY_OPS", "a-key-of-the-environment:agent")
    api_keys.environment_keys.cache_clear()
    mine = minted({"X-API-Key": "a-key-of-the-environment"}, "ops")
    assert claims_of(mine)["key"].startswith("env-") and "a-key" not in str(claims_of(mine))
    assert code(mine) == 200

    monkeypatch.delenv("ORCHESTRATOR_API_KEY_OPS")
    api_keys.environment_keys.cache_clear()

    assert code(mine) == 401
    api_keys.environment_keys.cache_clear()


def test_a_token_names_its_key_and_hands_it_on() -> None:
    key, text = new_key()

    first = minted({"X-API-Key": text})

    assert claims_of(first)["key"] == key.prefix
    assert claims_of(minted(first))["key"] == key.prefix
    assert set(claims_of(minted({"Authorization": f"Bearer {token(name='alice')}"}))) == {
        "sub",
        "role",
        "exp",
        "iat",
    }


def test_a_token_ends_no_later_than_what_asked_for_it() -> None:
    ends = timezone.now().replace(microsecond=0) + timedelta(hours=2)
    _, text = new_key(expires_at=ends)

    answer = answer_to({"X-API-Key": text})
    again = minted({"Authorization": f"Bearer {answer.json()['token']}"})
    own = int(timezone.now().timestamp()) + 600

    assert 7100 < answer.json()["expires_in"] <= 7200
    assert claims_of(again)["exp"] == int(ends.timestamp())
    assert (
        claims_of(minted({"Authorization": f"Bearer {token(name='alice', exp=own)}"}))["exp"] == own
    )


def test_a_token_at_its_very_end_gets_no_other() -> None:
    over = int(timezone.now().timestamp()) - 2  # within the leeway for clocks

    assert (
        answer_to({"Authorization": f"Bearer {token(name='alice', exp=over)}"}).status_code == 401
    )


def test_a_token_does_not_outrank_its_key() -> None:
    _, text = new_key()
    mine = minted({"X-API-Key": text}, "tmp-1", "admin")
    assert who(mine).role == Role.ADMIN

    Principal.objects.create(name="alice", role="user")

    cached_rows.forget_all()
    assert who(mine).role == Role.USER


def test_a_minted_token_gets_none_for_other_names() -> None:
    _, text = new_key()
    root = minted({"X-API-Key": text}, "alice", "admin")

    assert answer_to(root, "bob").status_code == 403
    assert answer_to({"X-API-Key": text}, "bob").status_code == 200
    assert (
        answer_to({"Authorization": f"Bearer {token('admin', 'root-1')}"}, "bob").status_code == 200
    )


def test_a_key_with_its_own_rate_has_one_bucket_whatever_it_mints(settings: Any) -> None:
    settings.RATE_LIMIT_SCALE = 1
    _, text = new_key(rate_limits={"tasks": 2})
    callers = [
        {"X-API-Key": text},
        minted({"X-API-Key": text}),
        minted({"X-API-Key": text}, "tmp-1"),
    ]

    own = [throttling.bucket_of("tasks", actor=who(by), address="192.0.2.1") for by in callers]
    other = [throttling.bucket_of("stats", actor=who(by), address="192.0.2.1") for by in callers]

    assert own == [throttling.Bucket("tasks", "key:alice|", 2)] * 3
    assert [bucket.who for bucket in other] == ["key:alice|", "key:alice|", "key:tmp-1|"]


def test_an_open_stream_ends_with_the_key_behind_its_token() -> None:
    key, text = new_key()
    wish = StreamRequest(
        0, actor("alice"), {"authorization": minted({"X-API-Key": text})["Authorization"]}
    )
    assert refusal(wish) == ""

    services.revoke_api_key(prefix=key.prefix, by=SYSTEM, now=timezone.now())

    cached_rows.forget_all()
    assert "ended" in refusal(wish)


def test_an_account_takes_its_tokens_with_it() -> None:
    boss = User.objects.create_superuser("boss", password="pw")
    basic = {"Authorization": "Basic " + base64.b64encode(b"boss:pw").decode()}
    mine = minted(basic, "ghost", "admin")
    assert code(mine) == 200 and "boss" in who(mine).persons

    boss.is_active = False
    boss.save()

    assert code(mine) == 401


def test_a_key_claim_of_a_callers_own_means_nothing() -> None:
    assert code({"Authorization": f"Bearer {token(key='my-key')}"}) == 200


def test_a_token_of_a_key_costs_no_query_while_it_is_fresh(django_assert_num_queries: Any) -> None:
    _, text = new_key()
    mine = minted({"X-API-Key": text})
    who(mine)

    with django_assert_num_queries(0):
        who(mine)


def test_a_key_with_an_old_name_still_gets_tokens() -> None:
    key, text = new_key()
    ApiKey.objects.filter(pk=key.pk).update(name="Älice Ö.")

    mine = minted({"X-API-Key": text}, "Älice Ö.")

    assert (code({"X-API-Key": text}), code(mine)) == (200, 200)
    assert answer_to({"X-API-Key": text}, "Älice Ü.").status_code == 400  # a new name is checked
