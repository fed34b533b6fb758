"""The only way out: POST to a host somebody else named, without reaching what is not theirs to reach.

Each time the socket opens, the name is looked up once, every address it has is judged, and the connection goes
to a judged address – so a name that changes its mind between check and use gains nothing. No redirects, no
proxies, no second request; one deadline for all of it, and a bound on what is read.
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
    """What came back. retry_after: the header's text; body: its beginning, never parsed."""

    status: int
    retry_after: str
    body: str


class Wire(io.RawIOBase):
    """A socket whose every operation ends at one deadline, and that yields at most MAX_READ bytes."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        """deadline: on the monotonic clock."""
        self.sock, self.deadline, self.left = sock, deadline, MAX_READ

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        """Return the reader http.client asks for."""
        return io.BufferedReader(self, 4096)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there; raise Failed when there is too much."""
        if self.left <= 0:
            raise Failed(f"The answer is longer than {MAX_READ} bytes.")
        self.sock.settimeout(remaining(self.deadline))
        size = self.sock.recv_into(memoryview(buffer)[: self.left])
        self.left -= size
        return size

    def send(self, data: bytes) -> None:
        """Send everything."""
        view = memoryview(data)
        while view:
            self.sock.settimeout(remaining(self.deadline))
            view = view[self.sock.send(view) :]


def post(
    url: str, *, body: bytes, headers: Mapping[str, str], reach: Reach, seconds: float
) -> Answer:
    """POST to a URL and return the answer, whatever its status; raise Failed.

    headers: already checked, without line ends. seconds: for everything, from lookup to the last byte.
    """
    deadline = time.monotonic() + seconds
    try:
        target = target_of(url)
        with connected(target, reach, deadline) as sock:
            return exchange(Wire(sock, deadline), request(target, headers, len(body)) + body)
    except Invalid as refusal:
        raise Failed(str(refusal)) from None
    except TimeoutError:
        raise Failed(f"No answer within {seconds:g} s.") from None
    except (OSError, http.client.HTTPException) as fault:
        raise Failed(one_line(f"{type(fault).__name__}: {fault}")) from None


def request(target: Target, headers: Mapping[str, str], length: int) -> bytes:
    """Return the head of the request."""
    host = f"[{target.host}]" if ":" in target.host else target.host
    lines = {
        "Host": host if target.port == PORTS[target.scheme] else f"{host}:{target.port}",
        "Connection": "close",
        "Accept": "*/*",
    }
    lines |= {**headers, "Content-Length": str(length)}
    head = [f"POST {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items())]
    return ("\r\n".join(head) + "\r\n\r\n").encode("ascii")


def exchange(wire: Wire, message: bytes) -> Answer:
    """Send a request and read its answer."""
    with contextlib.suppress(
        BrokenPipeError, ConnectionResetError
    ):  # it may have answered before it read all
        wire.send(message)
    answer = http.client.HTTPResponse(wire, method="POST")  # type: ignore[arg-type]
    try:
        answer.begin()
        body = snippet_of(answer)
        return Answer(answer.status, answer.headers.get("Retry-After", ""), body)
    finally:
        answer.close()


def snippet_of(answer: http.client.HTTPResponse) -> str:
    """Return the beginning of the body; what breaks off after the status changes nothing."""
    try:
        found = answer.read(SNIPPET)
    except http.client.IncompleteRead as cut:
        found = cut.partial
    except (OSError, http.client.HTTPException, ValueError, Failed):
        found = b""
    return found[:SNIPPET].decode(errors="replace").replace("\0", "\ufffd")


def one_line(text: str) -> str:
    """Return what may hold anything the other side sent as a short line that can be stored and shown."""
    return "".join(sign if sign.isprintable() else " " for sign in text[:500])


def connected(target: Target, reach: Reach, deadline: float) -> socket.socket:
    """Return a connection to one of the host's addresses, all of which may be reached; raise Failed or OSError."""
    found = addresses(target, deadline)
    refusal = next((why for address in found if (why := why_not(target, address, reach))), "")
    if refusal or not found:
        raise Failed(refusal or f"{target.host} has no address.")
    fault: OSError | None = None
    for place, address in enumerate(found[:MAX_TRIED]):
        share = remaining(deadline) / (len(found[:MAX_TRIED]) - place)
        try:
            return secured(opened(address, target.port, share), target, deadline)
        except ssl.SSLError:
            raise
        except OSError as error:
            fault = error
    raise fault or Failed(f"{target.host} cannot be reached.")


def addresses(target: Target, deadline: float) -> list[Address]:
    """Return the addresses of a host, each once, in the resolver's order; raise Failed or TimeoutError."""
    address = literal(target.host)
    if address:
        return [address]
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=look_up, args=[target, answers], name="lookup", daemon=True).start()
    try:
        found = answers.get(timeout=remaining(deadline))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(found, Exception):
        raise Failed(f"{target.host} cannot be looked up: {found}")
    return list(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))


def look_up(target: Target, answers: "queue.SimpleQueue[Any]") -> None:
    """Ask the resolver, which knows no deadline: in a thread of its own."""
    try:
        answers.put(socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as fault:
        answers.put(fault)


def opened(address: Address, port: int, seconds: float) -> socket.socket:
    """Return a connection to exactly this address: no name is looked up again."""
    sock = socket.socket(
        socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM
    )
    try:
        sock.settimeout(seconds)
        sock.connect((str(address), port))
    except BaseException:
        sock.close()
        raise
    return sock


def secured(sock: socket.socket, target: Target, deadline: float) -> socket.socket:
    """Return the connection, for https inside TLS: the certificate must be good for the host's name."""
    if target.scheme == "http":
        return sock
    try:
        sock.settimeout(remaining(deadline))
        return ssl.create_default_context().wrap_socket(sock, server_hostname=target.host)
    except BaseException:
        sock.close()
        raise


def remaining(deadline: float) -> float:
    """Return the seconds left; raise TimeoutError when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
