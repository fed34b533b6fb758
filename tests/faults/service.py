"""A real service to be hurt, and callers that use nothing but its API."""

import contextlib
import dataclasses
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import requests
from requests.adapters import HTTPAdapter

from tests.support import processes
from tests.support.runs import ROOT
from tests.support.servers import Server, free_port, private_postgres, private_redis

LEASE = 5  # seconds, the shortest a claim may ask for
SWEEP = 1  # seconds between sweeps


@dataclasses.dataclass
class Report:
    """What a fault showed: how often it was done, and every promise that did not hold."""

    name: str
    trials: int
    seed: int
    broken: list[str]
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        figures = "".join(f", {name} {value}" for name, value in self.figures.items())
        seen = f"{len(self.broken)} broken: {self.broken[:3]}" if self.broken else "0 broken"
        return f"{self.name}: N={self.trials}, seed {self.seed}{figures}: {seen}"


@dataclasses.dataclass
class Service:
    """Where it answers, and the settings that other processes on its stores need."""

    settings: dict[str, str]
    command: list[str]
    url: str = ""
    process: processes.Server | None = None
    tree: Path = ROOT  # whose code it runs
    database: Server | None = None  # a PostgreSQL that may be hurt

    def start(self) -> None:
        """Start it, and return when it answers; on a port that may be another one each time."""
        self.process = processes.Server(self.command, {"PORT": "0", **self.settings}, self.tree)
        self.url = self.process.wait_for(r"http://\S+?:\d+").group()

    def stop(self) -> int:
        """End it in an orderly way; return its exit status."""
        assert self.process
        return self.process.end()

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process:
            self.process.close()

    @contextlib.contextmanager
    def with_another(self) -> Iterator[list["Service"]]:
        """Give it and, on servers, another web process on its stores: one alone writes in turn."""
        services = [self]
        if "DATABASE_URL" in self.settings:
            command = [word for word in self.command if not word.startswith("--with-")]
            services.append(Service(self.settings, command, tree=self.tree))
            services[1].start()
        try:
            yield services
        finally:
            for service in services[1:]:
                service.kill()

    def caller(self, name: str, role: str = "agent") -> "Caller":
        """Return a caller with a token of its own."""
        return Caller(self.url, self.settings["ORCHESTRATOR_JWT_SECRET"], name, role)


class Caller:
    """A program that uses the API; one connection, kept open."""

    def __init__(self, url: str, secret: str, name: str, role: str = "agent") -> None:
        """secret: signs the token, as the guide says."""
        self.url, self.name = url, name
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.mount("http://", HTTPAdapter(max_retries=0))
        now = int(time.time())
        claims = {"sub": name, "role": role, "iat": now, "exp": now + 86_400}
        self.http.headers["Authorization"] = (
            f"Bearer {jwt.encode(claims, secret, algorithm='HS256')}"
        )

    @property
    def authorization(self) -> str:
        """Return the header that says who calls."""
        return str(self.http.headers["Authorization"])

    def send(
        self, method: str, path: str, body: Any = None, timeout: float = 90
    ) -> requests.Response:
        """Send a request; return whatever is answered."""
        return self.http.request(method, self.url + path, json=body, timeout=timeout)

    def post(self, path: str, body: Any = None) -> Any:
        """POST; return the answer, which must be a success."""
        answer = self.send("POST", path, body)
        answer.raise_for_status()
        return answer.json()

    def get(self, path: str) -> Any:
        """GET; return the answer, which must be a success."""
        answer = self.send("GET", path)
        answer.raise_for_status()
        return answer.json()

    def create(self, number: int, **new: Any) -> list[str]:
        """Hand in tasks, a hundred at a time; return their ids."""
        ids: list[str] = []
        while len(ids) < number:
            tasks = [
                {"type": "bugfix", "payload": {}, **new} for _ in range(min(100, number - len(ids)))
            ]
            ids += [
                made["task_id"] for made in self.post("/tasks/batch", {"tasks": tasks})["results"]
            ]
        return ids

    def claim(self, limit: int = 1, **asked: Any) -> list[dict[str, Any]]:
        """Take tasks of the dev pool under the shortest lease."""
        body = {"agent": "dev_agent", "limit": limit, "lease_seconds": LEASE, **asked}
        return list(self.post("/tasks/claim", body)["tasks"])

    def complete(self, task: dict[str, Any]) -> int:
        """Report a claimed task as completed; return the status of the answer."""
        path = f"/tasks/{task['task_id']}/status?status=completed&attempt={task['attempt']}"
        return self.send("PATCH", path).status_code


@contextlib.contextmanager
def embedded(planted: str = "", **settings: str) -> Iterator[Service]:
    """Give a service on the embedded stores. planted: the name of a fault built into it."""
    with tempfile.TemporaryDirectory(prefix="orchestrator-") as folder:
        yield from running(
            planted, common() | {"DATA_DIR": folder, "PLANTED_FAULT": planted} | settings
        )


@contextlib.contextmanager
def on_servers(planted: str = "", **settings: str) -> Iterator[Service]:
    """Give a service on a private PostgreSQL and Redis, its worker and beat in the same process."""
    with (
        private_postgres() as postgres,
        private_redis() as redis,
        tempfile.TemporaryDirectory() as folder,
    ):
        stores = {
            "DATABASE_URL": postgres.url,
            "REDIS_URL": redis.url,
            "ORCHESTRATOR_ENV": "development",
        }
        own = common() | stores | {"DATA_DIR": folder, "PLANTED_FAULT": planted} | settings
        options = ("--migrate", "--with-worker", "--with-beat")
        yield from running(planted, own, *options, database=postgres)


@contextlib.contextmanager
def two_on_servers() -> Iterator[list[Service]]:
    """Give two web services on one PostgreSQL and Redis, each at an address that it keeps."""
    with (
        private_postgres() as postgres,
        private_redis() as redis,
        tempfile.TemporaryDirectory() as folder,
    ):
        stores = {
            "DATABASE_URL": postgres.url,
            "REDIS_URL": redis.url,
            "ORCHESTRATOR_ENV": "development",
        }
        own = common() | stores | {"DATA_DIR": folder, "DJANGO_SECRET_KEY": secrets.token_hex(32)}
        command = [sys.executable, "manage.py", "up", "--migrate"]
        services = [Service(own | {"PORT": str(free_port())}, command) for _ in range(2)]
        try:
            for service in services:
                service.start()
            yield services
        finally:
            for service in services:
                service.kill()


def common() -> dict[str, str]:
    """Return the settings of every fault run: limits out of the way, sweeps often."""
    return {
        "ORCHESTRATOR_JWT_SECRET": secrets.token_hex(32),
        "ORCHESTRATOR_RATE_LIMIT_SCALE": "100000",
        "ORCHESTRATOR_SWEEP_SECONDS": str(SWEEP),
    }


def running(
    planted: str, settings: dict[str, str], *options: str, database: Server | None = None
) -> Iterator[Service]:
    """Start a service, give it, and end it whatever happens."""
    program = ["-m", "tests.faults.planted", planted] if planted else ["manage.py"]
    command = [sys.executable, *program, "up", *options]
    service = Service(settings, command, database=database)
    try:
        service.start()
        yield service
    finally:
        service.kill()
