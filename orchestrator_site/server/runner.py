"""The web server of `manage.py up`: uvicorn in the main thread, which a signal only ends."""

import asyncio
import atexit
import contextlib
import ctypes
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn

from orchestrator_site.server.http_protocol import Protocol, State

GRACE_SECONDS = 3  # open requests and streams get this long to end
LIMIT_SECONDS = 5  # whatever still runs then is cut off
BACKLOG = 2048  # connections that the kernel makes before we take them
REPEAT_SECONDS = 1  # a signal sent twice this quickly is one: `make` passes its group's on
SIGNALS = (signal.SIGINT, signal.SIGTERM)
HANDSHAKE_SECONDS = 0.02  # for a connection that is being made when the service ends
SO_ATTACH_FILTER = 26  # of Linux
# Classic BPF: drop a packet that asks for a connection (SYN without ACK), keep every other one.
KEEPS_OUT_SYN = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the byte of the TCP header that has the flags
        (0x54, 0, 0, 0x12),  # keep SYN and ACK of it
        (0x15, 0, 1, 0x02),  # unless it is SYN alone, skip one
        (0x06, 0, 0, 0),  # keep no byte of the packet
        (0x06, 0, 0, 0xFFFFFFFF),  # keep all of it
    )
)


class Server(uvicorn.Server):
    """A uvicorn that returns from `run` after a signal, so that its caller can end the rest."""

    def __init__(
        self, app: Any, *, on_ready: Callable[[], None], on_end: Callable[[], None]
    ) -> None:
        """on_ready: called once the app is served. on_end: called at the first signal; quick."""
        super().__init__(configuration(app))
        self.server_state = self.state = State()
        self.on_ready = on_ready
        self.on_end = on_end
        self.ends_since: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take the connections that are made already, answer what they ask, then end."""
        self.state.ends = True
        loop = asyncio.get_running_loop()
        for listener in sockets or []:
            make_no_more_connections(listener)
        await asyncio.sleep(HANDSHAKE_SECONDS)
        last = [taken for listener in sockets or [] for taken in self.stop_listening(listener)]
        for taken in last:
            with contextlib.suppress(OSError):  # its client has left
                await loop.connect_accepted_socket(self.new_connection, taken)
        await super().shutdown(sockets)

    def stop_listening(self, listener: socket.socket) -> list[socket.socket]:
        """Close a socket that listens; return what waited there, which closing it would reset."""
        taken: list[socket.socket] = []
        with listener.dup() as last:
            for server in self.servers:
                server.close()  # its copy of the socket, and asyncio no longer looks at it
            listener.close()
            with contextlib.suppress(OSError):  # nothing waits any more
                while len(taken) < BACKLOG:
                    taken.append(last.accept()[0])
        return taken

    def new_connection(self) -> Protocol:
        """Return what speaks HTTP on a new connection."""
        return Protocol(self.config, self.state, self.lifespan.state)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals to the end of the process; uvicorn itself would raise them again."""
        for number in SIGNALS:
            signal.signal(number, self.handle_exit)
        signal.signal(signal.SIGALRM, self.cut_off)
        # All threads have ended then, and Python takes its handlers back.
        atexit.register(signal.alarm, 0)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """At the first signal end gracefully; at a later one exit now."""
        if self.ends_since is None:
            self.end()
        elif time.monotonic() - self.ends_since > REPEAT_SECONDS:
            os._exit(1)

    def end(self) -> None:
        """Stop serving; the process ends within LIMIT_SECONDS, whatever its threads do."""
        self.ends_since = time.monotonic()
        self.should_exit = True
        self.on_end()
        # Not a timer thread: starting one inside a signal handler can deadlock.
        signal.alarm(LIMIT_SECONDS)

    def cut_off(self, sig: int, frame: FrameType | None) -> None:
        """End the process now. What was open is rolled back, and found again by the sweeps."""
        os._exit(0)


def configuration(app: Any) -> uvicorn.Config:
    """Return how uvicorn serves the app. Forwarded headers are read by us, never by the server."""
    return uvicorn.Config(
        app,
        http=Protocol,
        loop="asyncio",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,  # longer than clients and proxies keep an idle connection
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def make_no_more_connections(listener: socket.socket) -> None:
    """Have the kernel ignore who wants to connect; they try again and find the socket closed.

    Else a connection made after the last one is taken is reset by the close. Only Linux can.
    """
    if sys.platform == "linux":
        program = ctypes.create_string_buffer(KEEPS_OUT_SYN, len(KEEPS_OUT_SYN))
        length = len(KEEPS_OUT_SYN) // struct.calcsize("HBBI")
        value = struct.pack("HP", length, ctypes.addressof(program))
        with contextlib.suppress(OSError):  # a kernel without: as elsewhere
            listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, value)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one. Raises OSError when it cannot."""
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    # Accepted sockets inherit it. Without it the kernel holds back the body of an answer for 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
