"""Subscriptions over HTTP: made by administrators, watched, rotated, resent, deleted."""

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest
from django.utils import timezone
from standardwebhooks import Webhook

from events_app.models import Delivery, Subscription
from events_app.webhooks import sender
from tests.conftest import Api
from tests.support.receivers import Receiver

PATH = "/events/subscriptions"
NEW = {"url": "https://hook.example.com/in", "types": ["task.*", "pr.merged"]}


@pytest.fixture
def boss(api: Callable[..., Api]) -> Api:
    """An administrator."""
    return api("admin", "root-1")


def one_of(boss: Api, **new: Any) -> str:
    """Make a subscription; return its path."""
    answer = boss.post(PATH, NEW | new)
    assert answer.status_code == 200, answer.json()
    return f"{PATH}/{answer.json()['subscription_id']}"


def deliver() -> None:
    sender.deliver(clock=timezone.now)


def test_the_secret_is_shown_once(boss: Api) -> None:
    made = boss.post(PATH, NEW).json()

    assert made["success"] is True and made["subscription_id"].startswith("sub_")
    assert made["secret"].startswith("whsec_")
    path = f"{PATH}/{made['subscription_id']}"
    for answer in (boss.get(path), boss.get(PATH), boss.get(f"{path}/deliveries")):
        assert made["secret"] not in answer.content.decode()
    shown = boss.get(path).json()["subscription"]
    assert (shown["url"], shown["types"], shown["format"], shown["active"]) == (
        *NEW.values(),
        "json",
        True,
    )


def test_the_same_key_makes_one_subscription(boss: Api) -> None:
    first, again = (boss.post(PATH, NEW, **{"Idempotency-Key": "k1"}) for _ in range(2))

    assert (
        first.json()["subscription"] == again.json()["subscription"]
        and Subscription.objects.count() == 1
    )


@pytest.mark.parametrize("role", ["agent", "user"])
def test_only_administrators_may(role: str, boss: Api, api: Callable[..., Api]) -> None:
    path, other = one_of(boss), api(role)

    requests = [
        ("GET", PATH),
        ("POST", PATH),
        ("GET", path),
        ("DELETE", path),
        ("GET", f"{path}/deliveries"),
    ]
    requests += [("POST", f"{path}/{verb}") for verb in ("rotate", "enable", "resend")]
    codes = {
        other.send(method, where, NEW if method == "POST" else None).status_code
        for method, where in requests
    }
    nobody = {api(None).send(method, where).status_code for method, where in requests}

    assert (codes, nobody, Subscription.objects.count()) == ({403}, {401}, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": None},
        {"url": ""},
        {"url": 7},
        {"url": "https://example.com/" + "x" * 2029},
        {"url": "https://example.com/\n"},
        {"url": " https://example.com/"},
        {"url": "https://me@example.com/"},
        {"url": "https://example.com/#part"},
        *(
            {"url": f"{scheme}://example.com/"}
            for scheme in ("ftp", "file", "gopher", "dict", "ldap", "ws")
        ),
        {"url": "javascript:alert(1)"},
        {"url": "data:text/plain,x"},
        *({"url": f"https://example.com:{port}/"} for port in (22, 25, 5432, 6379, 0, 65536)),
        {"url": "https://127.0.0.1/"},
        {"url": "https://169.254.169.254/"},
        {"url": "https://[::1]/"},
        {"types": []},
        {"types": None},
        {"types": "task.*"},
        {"types": ["a"] * 51},
        {"types": [f"a.b{number}" for number in range(1000)]},
        {"types": ["Task.*"]},
        {"types": ["task.*.x"]},
        {"types": [""]},
        {"types": [{}]},
        {"format": "xml"},
        {"description": "x" * 201},
        {"secret": "whsec_" + "yMjI" * 7},
        {"secret": "correct horse battery staple"},
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_stored(wrong: dict[str, Any], boss: Api) -> None:
    answer = boss.post(PATH, NEW | wrong)

    assert answer.status_code == 400 and next(iter(wrong)) in "".join(answer.json()["errors"]), (
        answer.json()
    )
    assert not Subscription.objects.exists()


def test_plain_http_needs_a_development_server(boss: Api, settings: Any) -> None:
    assert boss.post(PATH, NEW | {"url": "http://example.com/"}).status_code == 200

    settings.DEVELOPMENT = False
    assert boss.post(PATH, NEW | {"url": "http://example.com/"}).status_code == 400


def test_a_full_house_is_a_429(boss: Api, settings: Any) -> None:
    settings.WEBHOOK_MAX_SUBSCRIPTIONS = 2
    path = one_of(boss)
    one_of(boss)

    refused = boss.post(PATH, NEW)
    assert refused.status_code == 429 and refused.headers["Retry-After"]

    boss.send("DELETE", path)
    one_of(boss)


def test_a_secret_of_the_callers_signs(boss: Api) -> None:
    secret = "whsec_" + "yMjI" * 8

    assert boss.post(PATH, NEW | {"secret": secret}).json()["secret"] == secret


def test_the_list_is_newest_first(boss: Api) -> None:
    paths = [one_of(boss) for _ in range(3)]

    listed = boss.get(PATH).json()

    assert listed["count"] == 3
    assert [f"{PATH}/{one['subscription_id']}" for one in listed["subscriptions"]] == paths[::-1]


@pytest.mark.parametrize(
    ("method", "tail"),
    [("GET", ""), ("DELETE", ""), ("POST", "/rotate"), ("POST", "/enable"), ("GET", "/deliveries")],
)
def test_one_that_is_not_there_is_a_404(method: str, tail: str, boss: Api) -> None:
    assert boss.send(method, f"{PATH}/sub_1{tail}").status_code == 404


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00"])
def test_resend_refuses_a_time_that_no_event_can_have(boss: Api, since: str) -> None:
    refused = boss.post(f"{one_of(boss)}/resend", {"since": since})

    assert refused.status_code == 400 and "since" in refused.json()["errors"]


def test_resend_asks_for_one_of_both(boss: Api) -> None:
    path = one_of(boss)

    codes = [
        boss.post(f"{path}/resend", body).status_code
        for body in (
            None,
            {"event_id": "evt_1", "since": "2026-01-31T12:00:00Z"},
            {"since": "yesterday"},
            {"event_id": "evt_1"},
            {"since": "2026-01-31T12:00:00Z"},
        )
    ]
    assert codes == [400, 400, 400, 404, 200]


def test_a_journey(boss: Api, api: Callable[..., Api], settings: Any) -> None:
    settings.WEBHOOK_ALLOW_NETS = (ip_network("127.0.0.1"),)
    with Receiver() as receiver:
        made = boss.post(PATH, {"url": receiver.url, "types": ["pr.*"]}).json()
        path, secret = f"{PATH}/{made['subscription_id']}", made["secret"]
        for number in range(3):
            said = {
                "event_type": "pr.merged",
                "source_agent": "dev_agent",
                "payload": {"n": number},
            }
            assert api("agent").post("/events/publish", said).status_code == 200
        deliver()

        listed = boss.get(f"{path}/deliveries?limit=2&status=delivered").json()
        rest = boss.get(f"{path}/deliveries?limit=2&cursor={listed['next']}").json()
        assert (listed["count"], rest["count"], rest["next"]) == (2, 1, None)
        [attempt] = rest["deliveries"][0]["log"]
        assert (attempt["status"], attempt["answer"], rest["deliveries"][0]["next_attempt_at"]) == (
            200,
            "noted",
            None,
        )

        rotated = boss.post(f"{path}/rotate").json()["secret"]
        event_id = rest["deliveries"][0]["event_id"]
        assert boss.post(f"{path}/resend", {"event_id": event_id}).json()["resending"] == 1
        deliver()
        for either in (secret, rotated):
            said = Webhook(either).verify(receiver.requests[-1].body, receiver.requests[-1].headers)
            assert said["data"]["event_id"] == event_id

        receiver.behave = lambda request: "410"
        boss.post(f"{path}/resend", {"event_id": event_id})
        deliver()
        shown = boss.get(path).json()["subscription"]
        assert (shown["active"], shown["disabled_reason"]) == (
            False,
            "The receiver answered 410 Gone.",
        )
        assert boss.post(f"{path}/resend", {"event_id": event_id}).status_code == 409
        assert boss.post(f"{path}/enable").json()["subscription"]["active"] is True

        assert boss.send("DELETE", path).json() == {"success": True}
        assert boss.get(path).status_code == 404 and not Delivery.objects.exists()


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=1_0", "status=lost", "cursor=x", "cursor=%00"]
)
def test_a_page_that_cannot_be_is_refused(query: str, boss: Api) -> None:
    assert boss.get(f"{one_of(boss)}/deliveries?{query}").status_code == 400
