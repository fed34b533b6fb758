"""Whose stream may go on."""

import time

import pytest

from events_app.streams import sse
from events_app.streams.broadcaster import refusal
from events_app.streams.sse import StreamRequest, quota
from orchestrator_site.infra import cached_rows
from orchestrator_site.models import Principal
from tests.conftest import actor, token

pytestmark = pytest.mark.django_db


def wish(text: str) -> StreamRequest:
    return StreamRequest(0, actor("listener"), {"authorization": f"Bearer {text}"})


def test_a_good_credential_goes_on() -> None:
    assert refusal(wish(token("user", "listener"))) == ""


def test_an_expired_token_ends_its_stream() -> None:
    past = int(time.time()) - 100

    assert "expired" in refusal(wish(token("user", "listener", iat=past - 100, exp=past))).lower()


def test_a_disabled_principal_hears_no_more() -> None:
    Principal.objects.create(name="listener", disabled=True)
    cached_rows.forget_all()

    assert "disabled" in refusal(wish(token("user", "listener")))


def test_places_are_counted_by_principal_and_given_back(settings) -> None:
    settings.MAX_STREAMS_PER_PRINCIPAL = 2

    assert [quota.take("p") for _ in range(3)] == [True, True, False]
    assert quota.take("q")
    quota.leave("p")
    assert quota.take("p")
    for name in ("p", "p", "q"):
        quota.leave(name)


def test_one_credential_takes_half_of_the_places_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MOST_PER_PROCESS", 4)
    monkeypatch.setattr(sse, "MOST_PER_CREDENTIAL", 2)
    room = sse.StreamQuota()

    assert [room.take(f"name-{n}", "jwt") for n in range(3)] == [True, True, False]
    assert [room.take("p", "key:a"), room.take("q", "key:b"), room.take("r", "key:c")] == [
        True,
        True,
        False,
    ]
    room.leave("name-0", "jwt")
    assert room.take("name-2", "jwt")
