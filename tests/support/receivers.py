"""A receiver of webhooks on a loopback port, which behaves as it is told.

with Receiver() as receiver:
    receiver.behave = lambda request: "500"
"""

import contextlib
import json
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple


class Request(NamedTuple):
    """What came in. headers: names in lower case."""

    line: str
    headers: dict[str, str]
    body: str

    @property
    def event_id(self) -> str:
        """Return the id of the message."""
        return self.headers["webhook-id"]

    @property
    def data(self) -> dict[str, Any]:
        """Return the body's `data`."""
        return dict(json.loads(self.body)["data"])


class Receiver:
    """An HTTP server.

    `behave(request)` names its answer: a status, `429 7`, or one of MISBEHAVE.
    """

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        """tls: for https."""
        self.behave: Callable[[Request], str] = lambda request: "200"
        self.requests: list[Request] = []
        self.connections = 0
        self.host, self.port, self.tls = host, port, tls
        self.lock = threading.Lock()
        self.released = threading.Event()  # ends what hangs

    def __enter__(self) -> "Receiver":
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.refuse()

    def listen(self) -> None:
        """Take connections, on the same port as before."""
        receiver = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                receiver.serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            address_family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            allow_reuse_address = daemon_threads = True
            request_queue_size = 128
            block_on_close = False

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing: callers that hang up are part of the game."""

        self.server = Server((self.host, self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=[0.02], daemon=True).start()

    def refuse(self) -> None:
        """Take no connections until `listen`."""
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        """Return where it receives."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls else ''}://{host}:{self.port}/hook"

    def serve(self, sock: socket.socket) -> None:
        """Read one request and answer it as told."""
        with self.lock:
            self.connections += 1
        if self.tls:
            sock = self.tls.wrap_socket(sock, server_side=True)
        request = read_request(sock)
        if request is None:
            return
        with self.lock:
            self.requests.append(request)
            how = self.behave(request)
        with contextlib.suppress(OSError):
            self.answer(sock, how)
        sock.close()

    def answer(self, sock: socket.socket, how: str) -> None:
        """Answer, or do worse."""
        if how in MISBEHAVE:
            MISBEHAVE[how](self, sock)
            return
        status, _, wait = how.partition(" ")
        extra = f"Retry-After: {wait}\r\n" if wait else ""
        head = f"HTTP/1.1 {status} X\r\n{extra}Content-Length: 5\r\nConnection: close\r\n\r\n"
        sock.sendall(f"{head}noted".encode())

    def wait_for(self, event_ids: set[str], seconds: float = 60) -> None:
        """Return when messages of all these events have come."""
        deadline = time.monotonic() + seconds
        while missing := event_ids - set(self.received()):
            assert time.monotonic() < deadline, f"{missing} did not come in {seconds} seconds"
            time.sleep(0.05)

    def received(self) -> list[str]:
        """Return the ids of what came, in order."""
        return [request.event_id for request in self.requests]


def read_request(sock: socket.socket) -> Request | None:
    """Return what is sent, None if nothing."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(65536)
        if not part:
            return None
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (entry.split(": ", 1) for entry in lines)}
    while len(body) < int(headers["content-length"]):
        body += sock.recv(65536)
    return Request(line, headers, body.decode())


def reset(receiver: Receiver, sock: socket.socket) -> None:
    """Hang up with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def half(receiver: Receiver, sock: socket.socket) -> None:
    """Break off within the headers."""
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")
    reset(receiver, sock)


def short(receiver: Receiver, sock: socket.socket) -> None:
    """Promise more of an error's body than comes."""
    sock.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 999\r\n\r\nshort")


def hang(receiver: Receiver, sock: socket.socket) -> None:
    """Say nothing."""
    receiver.released.wait(30)


def slow(receiver: Receiver, sock: socket.socket) -> None:
    """Take its time, then say yes."""
    receiver.released.wait(0.3)
    receiver.answer(sock, "200")


def drip(receiver: Receiver, sock: socket.socket) -> None:
    """Send a byte of a header at a time, for ever."""
    sock.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while not receiver.released.wait(0.02):
        sock.sendall(b"x")


def flood(receiver: Receiver, sock: socket.socket) -> None:
    """Send headers without an end, as fast as can be."""
    sock.sendall(b"HTTP/1.1 200 OK\r\n")
    until = time.monotonic() + 5
    while time.monotonic() < until:
        sock.sendall(b"X: " + b"x" * 10_000 + b"\r\n")


def long(receiver: Receiver, sock: socket.socket) -> None:
    """Answer with a million bytes."""
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000)


def garbage(receiver: Receiver, sock: socket.socket) -> None:
    """Answer what is not HTTP."""
    sock.sendall(b"\x00\xff nonsense\r\n\r\n")


def redirect(receiver: Receiver, sock: socket.socket) -> None:
    """Send the caller elsewhere: to itself."""
    sock.sendall(
        f"HTTP/1.1 307 Go\r\nLocation: {receiver.url}/there\r\nContent-Length: 0\r\n\r\n".encode()
    )


MISBEHAVE: dict[str, Callable[[Receiver, socket.socket], None]] = {
    "reset": reset,
    "half": half,
    "short": short,
    "hang": hang,
    "slow": slow,
    "drip": drip,
    "flood": flood,
    "long": long,
    "garbage": garbage,
    "redirect": redirect,
}


@contextlib.contextmanager
def silent_listener(host: str = "127.0.0.1") -> Iterator[Receiver]:
    """Give a receiver that nobody is meant to reach; fails if anybody did."""
    with Receiver(host=host) as receiver:
        yield receiver
        assert receiver.connections == 0, f"{receiver.connections} connections to {host}"
