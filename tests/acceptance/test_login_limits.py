"""Signing in: wrong passwords are counted, and checking them never takes all threads."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from orchestrator_site.api import passwords
from tests.conftest import Clock
from tests.support import console

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]
LOGIN = "/admin/login/"
RIGHT = "a-password-9"
login = console.login


@pytest.fixture(autouse=True)
def owner(settings: Any, login: Callable[..., Client]) -> Client:
    """The account `dana`, at the shipped rates."""
    settings.RATE_LIMIT_SCALE = 1
    return login(None)


def sign_in(password: str, name: str = "dana", address: str = "192.0.2.1") -> Any:
    browser = Client(REMOTE_ADDR=address)
    return browser.post(LOGIN, {"username": name, "password": password, "next": "/admin/"})


def guess(times: int, **more: str) -> list[int]:
    return [sign_in(f"wrong-{n}", **more).status_code for n in range(times)]


def ask_by_basic(password: str, address: str = "192.0.2.1") -> Any:
    text = base64.b64encode(f"dana:{password}".encode()).decode()
    body = {"user_id": "dana", "role": "user"}
    caller = Client(REMOTE_ADDR=address, headers={"Authorization": f"Basic {text}"})
    return caller.post("/auth/token", body, content_type="application/json")


def test_the_eleventh_wrong_password_in_a_minute_is_refused_on_a_page_of_the_console() -> None:
    assert guess(10) == [200] * 10

    refused = sign_in("wrong-11")
    assert refused.status_code == 429
    wait = int(refused["Retry-After"])
    assert 1 <= wait <= 61
    page = refused.content.decode()
    assert f"Try again in {wait} second" in page and "To the console" in page
    assert "no-store" in refused["Cache-Control"]


def test_after_too_many_wrong_ones_the_right_one_waits_too(clock: Clock) -> None:
    guess(10)

    refused = sign_in(RIGHT)
    assert refused.status_code == 429
    clock.now += int(refused["Retry-After"])
    assert sign_in(RIGHT).status_code == 302


def test_a_wrong_account_name_counts_like_a_right_one() -> None:
    assert guess(11, name="nobody") == [200] * 10 + [429]


def test_the_owner_gets_in_from_another_address_meanwhile() -> None:
    for n in range(5):
        guess(11, address=f"198.51.100.{n}")

    assert sign_in(RIGHT, address="192.0.2.9").status_code == 302


def test_a_colleague_at_the_same_address_gets_in_meanwhile() -> None:
    User.objects.create_user("erin", password=RIGHT, is_staff=True)
    guess(11)

    assert sign_in(RIGHT, name="erin").status_code == 302


def test_one_address_tries_thirty_passwords_a_minute_whatever_the_names() -> None:
    codes = [sign_in("wrong", name=f"name-{n}").status_code for n in range(31)]

    assert codes == [200] * 30 + [429]


def test_the_case_of_a_name_is_no_second_chance() -> None:
    codes = [sign_in("wrong", name=name).status_code for name in ["dana", "DANA"] * 6]

    assert codes == [200] * 10 + [429] * 2


def test_right_passwords_are_not_counted() -> None:
    assert [sign_in(RIGHT).status_code for _ in range(40)] == [302] * 40


def test_both_doors_share_the_count() -> None:
    guess(10)

    refused = ask_by_basic(RIGHT)
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) >= 1 and refused["X-RateLimit-Limit"] == "10"
    assert ask_by_basic(RIGHT, address="192.0.2.9").status_code == 200


@pytest.fixture
def two_others_sign_in() -> Iterator[None]:
    """Two passwords are being checked."""
    for _ in range(passwords.HASHING_AT_ONCE):
        assert passwords.hashing.acquire(blocking=False)
    yield
    for _ in range(passwords.HASHING_AT_ONCE):
        passwords.hashing.release()


@pytest.mark.usefixtures("two_others_sign_in")
def test_a_third_password_at_once_is_not_checked_but_asked_to_come_again() -> None:
    page, answer = sign_in(RIGHT), ask_by_basic(RIGHT)

    assert (page.status_code, answer.status_code) == (503, 503)
    assert (page["Retry-After"], answer["Retry-After"]) == ("1", "1")
    assert "signing in" in page.content.decode() and "signing in" in answer.json()["detail"]


def test_a_checked_password_gives_its_place_back() -> None:
    guess(3)
    sign_in(RIGHT)

    assert [passwords.hashing.acquire(blocking=False) for _ in range(3)] == [True, True, False]
    for _ in range(passwords.HASHING_AT_ONCE):
        passwords.hashing.release()
