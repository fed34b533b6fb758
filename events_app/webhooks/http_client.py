"""POST to a URL that somebody else chose, without reaching what they may not reach.

Each time, the name is looked up once, all its addresses are judged, and the connection goes to one
of them: a name whose address changes between check and use (DNS rebinding) gains nothing. There are
no redirects, no proxies and no second request; one deadline for all, and a bound on what is read.
"""

import contextlib
import http.client
import io
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from events_app.webhooks.url_policy import (
    PORTS,
    Address,
    Reach,
    Target,
    literal,
    target_of,
    why_not,
)
from orchestrator_site.core.errors import Invalid

MAX_READ = 65_536  # bytes of an answer, headers included
SNIPPET = 1024  # bytes of its body that are kept
MAX_TRIED = 4  # addresses of one name


class Failed(Exception):
    """The request did not get an answer; the text says why, in one line."""


class Answer(NamedTuple):
    """An answer. retry_after: the header's text. body: its beginning, never parsed."""

    status: int
    retry_after: str
    body: str


class Connection(io.RawIOBase):
    """A socket that is used until one deadline, and yields at most MAX_READ bytes.

    deadline: on the monotonic clock.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self.sock, self.deadline, self.left = sock, deadline, MAX_READ

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        """Return the reader that http.client reads an answer from."""
        return io.BufferedReader(self, 4096)

    def readable(self) -> bool:
        """Return True, as io.BufferedReader demands."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there; raise Failed beyond MAX_READ, and TimeoutError."""
        if self.left <= 0:
            raise Failed(f"The answer is longer than {MAX_READ} bytes.")
        self.sock.settimeout(remaining(self.deadline))
        size = self.sock.recv_into(memoryview(buffer)[: self.left])
        self.left -= size
        return size

    def send(self, data: bytes) -> None:
        """Send all of it; raise TimeoutError."""
        view = memoryview(data)
        while view:
            self.sock.settimeout(remaining(self.deadline))
            view = view[self.sock.send(view) :]


def post(
    url: str, *, body: bytes, headers: Mapping[str, str], reach: Reach, seconds: float
) -> Answer:
    """POST to a URL and return the answer, whatever its status; raise Failed.

    headers: without line ends. seconds: for everything, from the lookup to the last byte.
    """
    deadline = time.monotonic() + seconds
    try:
        target = target_of(url)
        with connect(target, reach, deadline) as sock:
            return exchange(Connection(sock, deadline), head(target, headers, len(body)) + body)
    except Invalid as refusal:
        raise Failed(str(refusal)) from None
    except TimeoutError:
        raise Failed(f"No answer within {seconds:g} s.") from None
    except (OSError, http.client.HTTPException) as fault:
        text = f"{type(fault).__name__}: {fault}"[:500]  # may hold anything the other side sent
        raise Failed("".join(sign if sign.isprintable() else " " for sign in text)) from None


def head(target: Target, headers: Mapping[str, str], length: int) -> bytes:
    """Return the request line and the headers. length: of the body, in bytes."""
    host = f"[{target.host}]" if ":" in target.host else target.host
    fields = {
        "Host": host if target.port == PORTS[target.scheme] else f"{host}:{target.port}",
        "Connection": "close",
        "Accept": "*/*",
        **headers,
        "Content-Length": str(length),
    }
    lines = [f"POST {target.path} HTTP/1.1", *(f"{name}: {text}" for name, text in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def exchange(connection: Connection, message: bytes) -> Answer:
    """Send a request and read its answer."""
    # The receiver may have answered before it read all.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.send(message)
    answer = http.client.HTTPResponse(connection, method="POST")  # type: ignore[arg-type]
    try:
        answer.begin()
        retry_after = answer.headers.get("Retry-After", "")
        return Answer(answer.status, retry_after, beginning_of(answer))
    finally:
        answer.close()


def beginning_of(answer: http.client.HTTPResponse) -> str:
    """Return the beginning of the body; what breaks off after the status changes nothing."""
    try:
        body = answer.read(SNIPPET)
    except http.client.IncompleteRead as cut:
        body = cut.partial
    except (OSError, http.client.HTTPException, ValueError, Failed):
        body = b""
    return body[:SNIPPET].decode(errors="replace").replace("\0", "\ufffd")


def connect(target: Target, reach: Reach, deadline: float) -> socket.socket:
    """Return a connection to one of a host's addresses, if all may be reached.

    Raise Failed or OSError.
    """
    addresses = look_up(target, deadline)
    refusal = next((why for one in addresses if (why := why_not(target, one, reach))), "")
    if refusal or not addresses:
        raise Failed(refusal or f"{target.host} has no address.")
    candidates, fault = addresses[:MAX_TRIED], OSError()
    for tried, address in enumerate(candidates):
        share = remaining(deadline) / (len(candidates) - tried)
        try:
            return connect_to(address, target, deadline, seconds=share)
        except ssl.SSLError:
            raise
        except OSError as error:
            fault = error
    raise fault


def connect_to(
    address: Address, target: Target, deadline: float, *, seconds: float
) -> socket.socket:
    """Return a connection to exactly this address: no name is looked up again.

    For https it is inside TLS, and the certificate must be good for the host's name.
    seconds: for the connection to open.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(seconds)
        sock.connect((str(address), target.port))
        if target.scheme == "http":
            return sock
        sock.settimeout(remaining(deadline))
        return ssl.create_default_context().wrap_socket(sock, server_hostname=target.host)
    except BaseException:
        sock.close()
        raise


def look_up(target: Target, deadline: float) -> list[Address]:
    """Return the addresses of a host, each once, in the resolver's order.

    The resolver knows no deadline, so it is asked in a thread. Raise Failed or TimeoutError.
    """
    if address := literal(target.host):
        return [address]
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def resolve() -> None:
        try:
            answers.put(socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as fault:
            answers.put(fault)

    threading.Thread(target=resolve, name="lookup", daemon=True).start()
    try:
        answer = answers.get(timeout=remaining(deadline))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise Failed(f"{target.host} cannot be looked up: {answer}")
    return list(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in answer))


def remaining(deadline: float) -> float:
    """Return the seconds left; raise TimeoutError when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
