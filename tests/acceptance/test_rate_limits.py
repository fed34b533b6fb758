"""How often: per identity and endpoint, on every answer, counted before permission is refused."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.test import Client
from django.utils import timezone

from orchestrator_site.access import services
from orchestrator_site.api import throttling
from orchestrator_site.core.actors import SYSTEM
from orchestrator_site.infra import redis_cache
from orchestrator_site.infra.redis_cache import ResilientRedisCache, redis_state
from tests.conftest import Clock

pytestmark = [
    pytest.mark.urls("tests.support.doors"),
    pytest.mark.django_db,
    pytest.mark.usefixtures("clock"),
]

HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


@pytest.fixture(autouse=True)
def scale(settings: Any) -> None:
    settings.RATE_LIMIT_SCALE = 1


def rates(answer: Any) -> tuple[int, ...]:
    return tuple(int(answer.headers[name]) for name in HEADERS)


def count(actor: Any = None, scope: str = "tasks", address: str = "192.0.2.1") -> throttling.Usage:
    return throttling.count(scope, actor=actor, address=address)


def test_ten_pass_and_the_eleventh_is_told_when_to_come_again(api: Callable[..., Any]) -> None:
    agent = api("agent")
    answers = [agent.post("/things", {"name": f"thing-{n}"}) for n in range(11)]

    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert [rates(answer)[:2] for answer in answers[:10]] == [
        (10, left) for left in range(9, -1, -1)
    ]
    wait = int(answers[10].headers["Retry-After"])
    assert 1 <= wait <= 61
    assert (
        answers[10].content.decode()
        == f'{{"detail":"Rate limit exceeded. Try again in {wait} seconds."}}'
    )
    assert rates(answers[10])[:2] == (10, 0)


def test_who_waits_as_told_is_served(clock: Clock) -> None:
    noon = clock.now
    for second in range(60):  # wherever in the window the refusal comes
        clock.now = noon + 200 * second + second
        for _ in range(10):
            last = count()
        refused = count()
        assert not last.refused and refused.refused
        assert refused.reset == clock.now + refused.wait and 1 <= refused.wait <= 60

        clock.now += refused.wait - 1
        assert count().refused
        clock.now += 1
        assert not count().refused


def test_a_refused_request_changes_nothing(api: Callable[..., Any]) -> None:
    agent = api("agent")
    for n in range(10):
        agent.post("/things", {"name": f"thing-{n}"})

    assert agent.post("/things", {"name": "one-more"}).status_code == 429
    other = api("agent", name="dev-agent-2")
    assert other.post("/things", {"name": "one-more"}).status_code == 200


def test_each_endpoint_and_each_identity_has_its_own_bucket(api: Callable[..., Any]) -> None:
    first, second = api("agent"), api("agent", name="dev-agent-2")

    assert rates(first.post("/things", {"name": "a"}))[:2] == (10, 9)
    assert rates(first.get("/things/x"))[:2] == (30, 29)
    assert rates(first.patch("/things/x/status?status=done"))[:2] == (10, 9)
    assert rates(second.post("/things", {"name": "b"}))[:2] == (10, 9)
    assert rates(first.post("/things", {"name": "c"}))[:2] == (10, 8)


def test_a_key_and_a_token_of_one_name_are_counted_apart(api: Callable[..., Any]) -> None:
    """Whoever signs a token in the name of a key's owner cannot use up the key's rate."""
    _, text = services.create_api_key(
        name="dev-agent-1", role="agent", by=SYSTEM, now=timezone.now()
    )
    api("agent").get("/things/x")

    assert rates(Client().get("/things/x", headers={"X-API-Key": text}))[:2] == (30, 29)


def test_a_key_may_have_a_rate_of_its_own() -> None:
    limits = {"task_read": 2}
    _, text = services.create_api_key(
        name="slow", role="agent", rate_limits=limits, by=SYSTEM, now=timezone.now()
    )

    codes = [Client().get("/things/x", headers={"X-API-Key": text}).status_code for _ in range(3)]

    assert codes == [200, 200, 429]


def test_the_scale_multiplies_all_rates(settings: Any, api: Callable[..., Any]) -> None:
    settings.RATE_LIMIT_SCALE = 2.5
    assert rates(api("agent").get("/things/x"))[0] == 75

    settings.RATE_LIMIT_SCALE = 0.001
    assert rates(api("agent").get("/things/x"))[0] == 1


ANSWERS: dict[str, tuple[str | None, str, str, int, int]] = {
    "not authenticated": (None, "GET", "/things/x", 401, 30),
    "not permitted": ("user", "PATCH", "/things/x/status?status=done", 403, 10),
    "bad input": ("agent", "PATCH", "/things/x/status?status=x", 400, 10),
    "not found": ("agent", "GET", "/refuse/missing", 404, 60),
    "conflict": ("agent", "GET", "/refuse/conflict", 409, 60),
    "unknown address": ("agent", "GET", "/nowhere", 404, 60),
    "not allowed": ("agent", "DELETE", "/things/x", 405, 60),
    "a fault": ("agent", "GET", "/refuse/fault", 500, 60),
    "database gone": ("agent", "GET", "/refuse/gone", 503, 60),
    "health": (None, "GET", "/health", 200, 300),
    "front page": (None, "GET", "/", 200, 60),
    "schema": (None, "GET", "/openapi.json", 200, 60),
    "documentation": (None, "GET", "/docs", 200, 60),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_carries_the_headers(api: Callable[..., Any], name: str) -> None:
    role, method, path, status, limit = ANSWERS[name]

    first, second = (api(role).send(method, path) for _ in range(2))

    assert first.status_code == status
    assert rates(first)[:2] == (limit, limit - 1)
    assert rates(second)[1] == limit - 2, "each of them is counted"


def test_refusals_are_counted_before_permission(api: Callable[..., Any]) -> None:
    codes = [api("user").patch("/things/x/status?status=done").status_code for _ in range(11)]

    assert codes == [403] * 10 + [429]


def test_guessing_credentials_is_counted_by_address() -> None:
    codes = [
        Client().get("/things/x", headers={"X-API-Key": f"guess-{n}"}).status_code
        for n in range(31)
    ]

    assert codes == [401] * 30 + [429]
    assert Client(REMOTE_ADDR="192.0.2.9").get("/things/x").status_code == 401


def test_unknown_addresses_are_limited_too(api: Callable[..., Any]) -> None:
    codes = [Client().get(f"/nowhere/{n}").status_code for n in range(61)]

    assert codes == [404] * 60 + [429]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("10.0.0.5", None, "10.0.0.5"),
        ("10.0.0.5", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.5", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.5", "203.0.113.9, 198.51.100.7, 10.0.0.6", "198.51.100.7"),
        ("10.0.0.5", "10.0.0.7, 10.0.0.6", "10.0.0.7"),
        ("10.0.0.5", "not an address", "10.0.0.5"),
        ("10.0.0.5", "203.0.113.9, junk, 10.0.0.6", "10.0.0.6"),
        ("10.0.0.5", " , ,", "10.0.0.5"),
        ("::ffff:10.0.0.5", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.5", "2001:DB8::1", "2001:db8::1"),
        ("", "198.51.100.7", ""),
        ("10.0.0.5", "198.51.100.7:1234", "198.51.100.7"),
        ("10.0.0.5", "203.0.113.9, 198.51.100.7:1234, 10.0.0.6:80", "198.51.100.7"),
        ("10.0.0.5", "[2001:DB8::1]:1234", "2001:db8::1"),
        ("10.0.0.5", "[2001:db8::1]", "2001:db8::1"),
        ("10.0.0.5", "[::ffff:198.51.100.7]:1", "198.51.100.7"),
        ("10.0.0.5", "198.51.100.7:port", "10.0.0.5"),
        ("10.0.0.5", "999.1.1.1:80", "10.0.0.5"),
        ("10.0.0.5", "[2001:db8::1", "10.0.0.5"),
    ],
)
def test_a_forwarded_address_counts_only_from_a_trusted_proxy(
    settings: Any, peer: str, forwarded: str | None, client: str
) -> None:
    settings.ORCHESTRATOR_TRUSTED_PROXIES = ["10.0.0.0/8"]
    meta = {"REMOTE_ADDR": peer} | (
        {"HTTP_X_FORWARDED_FOR": forwarded} if forwarded is not None else {}
    )

    assert throttling.client_address(meta) == client


def test_no_proxy_is_trusted_unless_configured() -> None:
    assert (
        throttling.client_address({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "1.2.3.4"})
        == "127.0.0.1"
    )


def test_an_ipv6_site_is_one_client() -> None:
    assert throttling.block("2001:db8:1:2:3::4") == throttling.block("2001:db8:1:2:ffff::1")
    assert throttling.block("2001:db8:1:2::1") != throttling.block("2001:db8:1:3::1")
    assert throttling.plain("::ffff:192.0.2.1") != throttling.plain("::ffff:192.0.2.2")


def test_many_at_once_are_counted_one_by_one() -> None:
    passed: list[bool] = []

    def hit() -> None:
        for _ in range(25):
            passed.append(not count().refused)

    threads = [threading.Thread(target=hit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(passed), sum(passed)) == (200, 10)


@pytest.fixture
def redis_is_down(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configure a Redis that nobody answers for."""
    settings.CACHES = {
        "default": {**settings.REDIS_CACHE, "LOCATION": "redis://127.0.0.1:1/0", "TIMEOUT": 60},
    }
    monkeypatch.setattr(redis_cache, "breaker", redis_cache.CircuitBreaker())
    caches["default"].clear()


def test_without_redis_requests_are_served_and_still_limited(
    redis_is_down: None, api: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    redis_cache.breaker.skip_until = 0.0
    redis_cache.breaker.faults = 0
    caplog.clear()

    codes = [api("agent").patch("/things/x/status?status=done").status_code for _ in range(11)]

    assert isinstance(caches["default"], ResilientRedisCache)
    assert codes == [200] * 10 + [429]
    assert redis_cache.breaker.faults == 1, "after a failure Redis is left alone for a while"
    assert [
        record.levelname for record in caplog.records if record.name == redis_cache.__name__
    ] == ["ERROR"]
    assert redis_state() == "disconnected"


def test_the_cache_keeps_its_other_promises_without_redis(redis_is_down: None) -> None:
    cache = caches["default"]

    assert cache.add("a", 1) and not cache.add("a", 2)
    cache.set_many({"b": 2, "c": 3})
    assert cache.get_many(["a", "b", "x"]) == {"a": 1, "b": 2}
    assert cache.incr("a") == 2 and cache.touch("a") and cache.has_key("a") and "c" in cache
    assert cache.get_or_set("d", 4) == 4 and cache.delete("d") and cache.get("d") is None
    cache.delete_many(["a", "b"])
    cache.clear()
    assert cache.get("c", "nothing") == "nothing"
