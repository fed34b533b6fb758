"""The cast of the tests: a clock, callers by role, and tasks to work with."""

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

os.environ.setdefault("ORCHESTRATOR_ENV", "development")

import jwt
import pytest
from django.conf import settings as site
from django.core.cache import cache
from django.db import connection
from django.test import Client
from pytest_django.plugin import blocking_manager_key

from orchestrator_site.core import times
from orchestrator_site.core.actors import Actor, Assurance, Door, Role
from orchestrator_site.infra import cached_rows
from orchestrator_site.infra.counters.local import LOCAL
from orchestrator_site.infra.counters.shared import SHARED
from tasks_app.models import Task
from tasks_app.services import intake
from tests.contract import client as contract
from tests.support.event_loop import held_to_the_loop
from tests.support.turns import turn


def pytest_configure() -> None:
    """Give each process of one run a Redis database of its own: emptying it must not touch the
    others'.
    """
    site.WHITENOISE_AUTOREFRESH = True  # else every client looks through all static files: 20 ms
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and site.REDIS_URL:
        url = f"{site.REDIS_URL.rsplit('/', 1)[0]}/{1 + int(worker.removeprefix('gw'))}"
        os.environ["REDIS_URL"] = url
        site.REDIS_URL = site.CELERY_BROKER_URL = site.CACHES["default"]["LOCATION"] = url


@pytest.fixture(autouse=True)
def fresh_memory(settings: Any) -> Iterator[None]:
    """Forget what a test kept in memory: its rollback tells no cache."""
    settings.RATE_LIMIT_SCALE = 1000  # the limits have tests of their own
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # others are slow
    cached_rows.forget_all()
    LOCAL.forget()
    SHARED.forget()
    cache.clear()
    yield
    cached_rows.forget_all()


@pytest.fixture(autouse=True)
def event_loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Coroutine actions may do here what they may do on the event loop of a server."""
    with held_to_the_loop(monkeypatch):
        yield


@pytest.fixture
def now() -> datetime:
    """A moment, aware, UTC."""
    return datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def actor(
    name: str,
    role: Role = Role.AGENT,
    assurance: Assurance = Assurance.SHARED,
    door: Door = Door.API,
) -> Actor:
    """Return an actor with a credential of the given kind."""
    credential = "jwt" if assurance == Assurance.SHARED else f"{assurance}:{name}"
    return Actor(name, role, door, assurance, credential)


@pytest.fixture
def dev() -> Actor:
    """An agent of the dev pool."""
    return actor("dev-agent-1")


@pytest.fixture
def ops() -> Actor:
    """An agent of the ops pool."""
    return actor("ops-agent-1")


@pytest.fixture
def admin() -> Actor:
    """A system administrator."""
    return actor("root-1", Role.ADMIN)


class Clock:
    """The time as the house and django-ratelimit read it: `clock.now`, seconds since 1970."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still: no minute turns while requests are counted."""
    still = Clock()
    monkeypatch.setattr("django_ratelimit.core.time.time", still)
    monkeypatch.setattr(times, "clock", times.Clock(elapsed=still, system=still))
    return still


def token(role: str = "agent", name: str = "dev-agent-1", **claims: Any) -> str:
    """Return a token as the guide makes it."""
    seconds = int(time.time())
    payload = {"sub": name, "role": role, "iat": seconds, "exp": seconds + 86_400, **claims}
    return jwt.encode(payload, site.ORCHESTRATOR_JWT_SECRET, algorithm="HS256")


class Api:
    """A caller of the API: `api.post("/tasks", {...})` sends JSON with a credential."""

    def __init__(self, headers: dict[str, str]) -> None:
        """headers: sent with every request, such as the credential."""
        self.headers = headers
        self.client = Client(raise_request_exception=False)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a request.

        A body goes as JSON. Return Django's response, checked against the schema.
        """
        data = b"" if body is None else json.dumps(body).encode()
        return self.send_raw(method, path, data, "application/json" if data else "", **headers)

    def send_raw(
        self, method: str, path: str, data: bytes, content_type: str, **headers: str
    ) -> Any:
        """Send bytes as they are."""
        extra: dict[str, Any] = {"data": data, "content_type": content_type}
        answer = self.client.generic(method, path, headers={**self.headers, **headers}, **extra)
        if site.ROOT_URLCONF == "orchestrator_site.urls":  # else it is a test's own service
            contract.check(method, path, answer)
        return answer

    def get(self, path: str, **headers: str) -> Any:
        """GET."""
        return self.send("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        """POST."""
        return self.send("POST", path, body, **headers)

    def patch(self, path: str, body: Any = None, **headers: str) -> Any:
        """PATCH."""
        return self.send("PATCH", path, body, **headers)


@pytest.fixture
def api(db: None) -> Callable[..., Api]:
    """Make callers: `api("agent")`, `api("user", name="dashboard")`, `api(None)` without a
    credential.
    """

    def caller(role: str | None = "agent", name: str = "dev-agent-1") -> Api:
        return Api({"Authorization": f"Bearer {token(role, name)}"} if role else {})

    return caller


@pytest.fixture
def make_task(db: None, dev: Actor, now: datetime) -> Callable[..., Task]:
    """Hand in tasks: `make_task(priority="P0")`."""

    def make(**new: Any) -> Task:
        by = new.pop("by", dev)
        when = new.pop("now", now)
        return intake.create_task(
            **{"type": "bugfix", "payload": {"issue": "1"}} | new, by=by, now=when
        )

    return make


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before pytest-timeout looks at the time
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let nothing run on the other store beside a test that is timed."""
    marker = item.get_closest_marker("serial")
    lock = os.environ.get("TEST_LOCK", "") if marker else ""
    with turn(lock, alone=bool(marker and marker.kwargs.get("timed"))):
        return (yield)


def pytest_make_parametrize_id(val: Any) -> str | None:
    """Name a function by its name: its address would differ between the processes of one run."""
    return getattr(val, "__name__", "function") if callable(val) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure what the tests of rules and services cover, and let the others run at full speed."""
    for item in items:
        if not {"unit", "integration"} & set(item.path.parts):
            item.add_marker("no_cover")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Put the rows that migrations made back after a test that commits: its end empties every
    table.

    pytest-django runs such tests last instead, which several processes on one run of the tests
    cannot.
    """
    yield
    marker = item.get_closest_marker("django_db")
    rows = getattr(connection, "_test_serialized_contents", None)  # none before the first database
    if rows and nextitem and marker and marker.kwargs.get("transaction"):
        with item.config.stash[blocking_manager_key].unblock():
            connection.creation.deserialize_db_from_string(rows)
            connection.close()
