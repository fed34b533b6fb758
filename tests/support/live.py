"""A running service for tests that speak to it as a program would: on the stores the tests run on,
all of it fresh.

with live_server() as server:
    requests.get(f"{server.url}/health")
"""

import contextlib
import dataclasses
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import jwt
import psycopg

from tests.support.processes import served
from tests.support.servers import NotInstalled, private_redis


@dataclasses.dataclass(frozen=True)
class LiveServer:
    """A development server, and what a client needs to know of it."""

    url: str
    secret: str
    api_key: str
    environment: dict[str, str]  # its settings: with them `manage.py` speaks to the same database

    def token(self, role: str = "agent", name: str = "dev-agent-1") -> str:
        """Return a token as the guide makes it."""
        now = int(time.time())
        return jwt.encode(
            {"sub": name, "role": role, "iat": now, "exp": now + 86_400},
            self.secret,
            algorithm="HS256",
        )


@contextlib.contextmanager
def live_server(
    prepare: Callable[[dict[str, str]], None] | None = None,
    program: Sequence[str] = ("manage.py",),
    /,
    **settings: str,
) -> Iterator[LiveServer]:
    """Start a server and end it.

    prepare: called with its environment before it starts. program: what Python runs. settings:
    environment variables laid over those it is given.
    """
    secret, api_key = secrets.token_hex(32), secrets.token_hex(24)
    with tempfile.TemporaryDirectory(prefix="orchestrator-") as folder, fresh_stores() as stores:
        given = {
            "DATA_DIR": folder,
            "ORCHESTRATOR_ENV": "development",
            "ORCHESTRATOR_RATE_LIMIT_SCALE": "1000",
            "ORCHESTRATOR_JWT_SECRET": secret,
            "ORCHESTRATOR_API_KEY_DEV_AGENT": f"{api_key}:agent",
            **stores,
            **settings,
        }
        if prepare:
            prepare(given)
        command = [*program, "up", "--migrate", "--with-worker", "--with-beat"]
        with served(command, Path(folder), given) as server:
            yield LiveServer(server.url, secret, api_key, given)


@contextlib.contextmanager
def fresh_stores() -> Iterator[dict[str, str]]:
    """Give an empty database beside the one the tests run on, and a Redis.

    Nothing where those are embedded. On their Redis its worker would take the messages of tests:
    it is theirs only where no other can be started.
    """
    stores = {
        name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL") if os.environ.get(name)
    }
    if not (server := stores.get("DATABASE_URL")):
        yield stores
        return
    name = f"live_{secrets.token_hex(6)}"
    stores["DATABASE_URL"] = urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(NotInstalled):
            stores["REDIS_URL"] = stack.enter_context(private_redis()).url
        connection = stack.enter_context(psycopg.connect(server, autocommit=True))
        connection.execute(f"CREATE DATABASE {name}")
        stack.callback(connection.execute, f"DROP DATABASE {name} WITH (FORCE)")
        yield stores
