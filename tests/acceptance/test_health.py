"""GET /health and the front page: true values, and an answer in time whatever the stores do."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.db import OperationalError, connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from orchestrator_site.infra import connection_watchdog, database_probe, redis_cache

pytestmark = [pytest.mark.urls("tests.support.doors"), pytest.mark.django_db]
BUSY = 5.0  # seconds that a busy machine may add


def health() -> Any:
    return Client(raise_request_exception=False).get("/health")


@pytest.fixture
def database_address() -> Iterator[Callable[..., None]]:
    """Send new connections somewhere else; our own is left alone."""
    kept = dict(connection.settings_dict)

    def send(**changes: Any) -> None:
        connections.settings["default"].update(changes)

    yield send
    connections.settings["default"].update(
        {name: kept[name] for name in ("HOST", "PORT", "NAME", "OPTIONS")}
    )


def test_a_well_service_says_so(api: Callable[..., Any], settings: Any) -> None:
    answer = health()

    assert answer.status_code == 200
    body = answer.json()
    assert list(body) == ["status", "redis", "queue_stats"]
    assert body["status"] == "healthy"
    assert body["redis"] == ("connected" if settings.REDIS_URL else "embedded")
    assert set(body["queue_stats"]) == {"pending_tasks", "processing_tasks", "total_tasks"}


def test_it_counts_the_tasks(make_task: Callable[..., Any]) -> None:
    before = health().json()["queue_stats"]
    make_task()
    make_task()

    after = health().json()["queue_stats"]

    assert after["pending_tasks"] == before["pending_tasks"] + 2
    assert after["total_tasks"] == before["total_tasks"] + 2


def test_it_takes_no_notice_of_credentials() -> None:
    assert (
        Client().get("/health", headers={"Authorization": "Bearer x", "X-API-Key": "y"}).status_code
        == 200
    )


def test_without_redis_it_is_degraded(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CACHES = {"default": {**settings.REDIS_CACHE, "LOCATION": "redis://127.0.0.1:1/0"}}
    monkeypatch.setattr(redis_cache, "breaker", redis_cache.CircuitBreaker())
    caches["default"].clear()
    begin = time.monotonic()

    answer = health()

    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["redis"]) == ("degraded", "disconnected")
    assert time.monotonic() - begin < 1.0


def check_unhealthy(answer: Any) -> None:
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert answer.json()["status"] == "unhealthy"
    assert isinstance(answer.json()["detail"], str)


def test_without_a_database_it_is_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(
        "orchestrator_site.views.health.database_answers", database_probe.DatabaseProbe(refused)
    )

    check_unhealthy(health())


SENTENCES = {
    "full": "The disk of the database is full.",
    "read-only": "The database cannot be written: it is read-only.",
    "unreachable": "The database is unreachable.",
}


@pytest.mark.parametrize("state", SENTENCES)
def test_it_says_what_keeps_the_store_from_being_written(
    monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr("orchestrator_site.infra.storage.state_of_disk", lambda: state)

    check_unhealthy(health())
    assert health().json()["detail"] == SENTENCES[state]


@pytest.mark.django_db(databases=[])
def test_a_live_process_says_so_without_asking_a_store(settings: Any) -> None:
    settings.CACHES = {"default": {**settings.REDIS_CACHE, "LOCATION": "redis://127.0.0.1:1/0"}}
    faults = redis_cache.breaker.faults

    with CaptureQueriesContext(connection) as sent:
        answer = Client(headers={"Authorization": "Bearer x"}).get("/live")

    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
    assert answer.headers["X-RateLimit-Limit"] == "300000"
    assert len(sent) == 0 and redis_cache.breaker.faults == faults


@pytest.mark.usefixtures("clock")
def test_a_probe_has_the_rate_of_health(settings: Any) -> None:
    settings.RATE_LIMITS, settings.RATE_LIMIT_SCALE = {**settings.RATE_LIMITS, "health": 3}, 1
    caller = Client(REMOTE_ADDR="192.0.2.77")

    answers = [caller.get("/live") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert int(answers[3].headers["Retry-After"]) >= 1
    assert Client(REMOTE_ADDR="192.0.2.78").get("/live").status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [("/health", 200), ("/live", 200), ("/", 400), ("/docs", 400), ("/health/", 400)],
)
def test_only_probes_may_come_by_address(path: str, status: int) -> None:
    assert Client(headers={"Host": "10.1.2.3:8000"}).get(path).status_code == status


def wait_for(event: threading.Event) -> None:
    event.wait()


def test_a_frozen_database_does_not_freeze_it(monkeypatch: pytest.MonkeyPatch) -> None:
    thawed = threading.Event()
    alive = database_probe.DatabaseProbe(lambda: wait_for(thawed))
    monkeypatch.setattr("orchestrator_site.views.health.database_answers", alive)
    begin = time.monotonic()

    check_unhealthy(health())

    assert time.monotonic() - begin < database_probe.PROBE_SECONDS + BUSY
    begin = time.monotonic()
    check_unhealthy(health())  # the question is still open: nobody waits for it a second time
    assert time.monotonic() - begin < database_probe.PROBE_SECONDS
    thawed.set()
    while not alive():
        assert time.monotonic() - begin < database_probe.PROBE_SECONDS + BUSY
    assert health().status_code == 200


def test_the_question_reaches_the_database() -> None:
    assert database_probe.DatabaseProbe(database_probe.ask_database)()


@pytest.mark.postgres
def test_a_database_that_refuses_connections_is_noticed(
    database_address: Callable[..., None],
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no address")
    database_address(HOST="127.0.0.1", PORT="1")

    assert not database_probe.DatabaseProbe(database_probe.ask_database)()


def test_many_who_want_to_know_share_one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_probe, "PROBE_SECONDS", 0.05)
    asked: list[int] = []
    go = threading.Event()

    def ask() -> None:
        asked.append(1)
        go.wait()

    alive = database_probe.DatabaseProbe(ask)

    assert [alive() for _ in range(20)] == [False] * 20
    assert len(asked) == 1
    go.set()


@pytest.mark.parametrize(("seconds", "questions"), [(60.0, 1), (0.0, 3)])
def test_a_good_answer_counts_for_a_moment(
    monkeypatch: pytest.MonkeyPatch, seconds: float, questions: int
) -> None:
    monkeypatch.setattr(database_probe, "GOOD_FOR", seconds)
    asked: list[int] = []
    alive = database_probe.DatabaseProbe(lambda: asked.append(1))

    assert [alive() for _ in range(3)] == [True] * 3
    assert len(asked) == questions


def test_a_bad_answer_counts_for_no_moment() -> None:
    answers = iter([ConnectionRefusedError(), None])

    def ask() -> None:
        if (fault := next(answers)) is not None:
            raise fault

    alive = database_probe.DatabaseProbe(ask)

    assert [alive(), alive()] == [False, True]


@pytest.mark.postgres
@pytest.mark.parametrize("alive", [False, True])
def test_a_request_that_hangs_is_freed_if_the_database_is_to_blame(alive: bool) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite is no server")
    guard = connection_watchdog.ConnectionWatchdog(lambda: alive, stuck_after=0)
    ended: list[str] = []
    sessions: list[int] = []
    connected = threading.Event()

    def hang() -> None:
        with guard.watch(), contextlib.suppress(OperationalError):
            with connection.cursor() as cursor:
                sessions.append(connection.connection.info.backend_pid)
                connected.set()
                cursor.execute("SELECT pg_sleep(%s)", [1 if alive else 60])
            ended.append("answered")
        connection.close()

    thread = threading.Thread(target=hang)
    begin = time.monotonic()
    thread.start()
    assert connected.wait(10)
    while thread.is_alive():
        guard.sweep()
        thread.join(0.01)

    assert ended == (["answered"] if alive else [])
    assert time.monotonic() - begin < 10
    with connection.cursor() as cursor:  # the server would sleep on
        cursor.execute("SELECT pg_terminate_backend(%s)", sessions)


def test_the_front_page_names_service_version_and_links() -> None:
    body = Client().get("/").json()

    assert body["service"] == "orchestrator" and body["version"]
    assert {"docs", "redoc", "openapi", "health", "stats"} <= set(body["links"])


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_documentation_names_no_other_host(path: str) -> None:
    answer = Client().get(path)

    assert answer.status_code == 200
    assert "http:" not in answer.content.decode() and "https:" not in answer.content.decode()
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
