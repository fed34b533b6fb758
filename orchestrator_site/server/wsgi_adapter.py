"""From ASGI to Django's WSGI application on plain threads, where database connections last.

One hop to a thread and one back for each request: the answer is collected there and sent whole.
"""

import asyncio
import dataclasses
import functools
import io
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

THREADS = 16  # requests served at once by one process; each thread keeps one database connection
STREAM_ABOVE = 262_144  # bytes; of a longer answer what is ready is sent on the way

Headers = list[tuple[bytes, bytes]]


@dataclasses.dataclass(slots=True)
class Answer:
    """An HTTP answer. sent: whether its beginning has left already; `body` then is the rest."""

    status: int = 500
    headers: Headers = dataclasses.field(default_factory=list)
    body: bytes = b""
    sent: bool = False

    async def send(self, send: Any, *, more: bool = False) -> None:
        """Send it. more: whether parts of the body follow."""
        if not self.sent:
            await send(
                {"type": "http.response.start", "status": self.status, "headers": self.headers}
            )
        await send({"type": "http.response.body", "body": self.body, "more_body": more})
        self.sent, self.body = True, b""


class WSGIAdapter:
    """Asks a WSGI application."""

    def __init__(self, application: Any, *, threads: int = THREADS) -> None:
        self.application = application
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix="web")

    async def ask(self, scope: Any, body: bytes, send: Any) -> Answer:
        """Return the answer to a request; of a long one the beginning has been sent."""
        loop = asyncio.get_running_loop()

        def send_part(answer: Answer) -> None:
            asyncio.run_coroutine_threadsafe(answer.send(send, more=True), loop).result()

        # In the thread's own context, as WSGI servers do: what Django keeps in it, such as the
        # connection to Redis, then lasts as long as the thread.
        return await loop.run_in_executor(
            self.threads, self.run, wsgi_environ(scope, body), send_part
        )

    def run(self, environ: dict[str, Any], send_part: Callable[[Answer], None]) -> Answer:
        """Run the application in this thread."""
        answer = Answer()
        parts: list[bytes] = []

        def start(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], None]:
            answer.status = int(status.split(" ", 1)[0])
            answer.headers = encoded(headers)
            return parts.append

        response = self.application(environ, start)
        try:
            size = 0
            for part in response:
                parts.append(part)
                size += len(part)
                if size > STREAM_ABOVE:
                    answer.body = b"".join(parts)
                    send_part(answer)
                    parts.clear()
                    size = 0
        finally:
            getattr(response, "close", lambda: None)()
        answer.body = b"".join(parts)
        return answer


def encoded(headers: Iterable[tuple[str, str]]) -> Headers:
    """Return headers as ASGI has them."""
    return [(header_name(name), value.encode("latin1")) for name, value in headers]


@functools.lru_cache(512)
def header_name(name: str) -> bytes:
    """Return the name of a header as ASGI has it."""
    return name.lower().encode("latin1")


@functools.lru_cache(512)
def environ_key(name: bytes) -> str:
    """Return the name of a header as WSGI has it."""
    key = name.decode("latin1").upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


COMMON = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}


def wsgi_environ(scope: Any, body: bytes) -> dict[str, Any]:
    """Return the WSGI environment of a request.

    Source: PEP 3333, and the HTTP scope of the ASGI specification. A header that is sent twice is
    one value joined by a comma.
    """
    host, port = scope.get("server") or ("localhost", 80)
    client, client_port = scope.get("client") or ("", 0)
    path = scope["path"]
    environ = {
        **COMMON,
        "asgi.scope": scope,
        "REQUEST_METHOD": scope["method"],
        "PATH_INFO": path if path.isascii() else path.encode().decode("latin1"),
        "QUERY_STRING": scope["query_string"].decode("latin1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port or 0),
        "REMOTE_ADDR": client,
        "REMOTE_PORT": str(client_port),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
    }
    for name, content in scope["headers"]:
        key, value = environ_key(name), content.decode("latin1")
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ
