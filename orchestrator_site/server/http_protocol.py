"""HTTP as uvicorn reads it, with bounds; what is no request is refused like any other bad one."""

import asyncio
import contextlib
import sys
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from orchestrator_site.api.middleware import REFUSAL
from orchestrator_site.server.exchange import EXCHANGE, Exchange
from orchestrator_site.server.request_limits import RequestRefused

MAX_HEAD_BYTES = 131_072  # of a request's first line and headers: else they fill the memory
MAX_TRAILER_BYTES = 16_384  # of what follows the last chunk of a body
HEAD_SECONDS = 25  # for all of a head to arrive
LAST_SECONDS = 1  # the same once the server ends
LINGER_SECONDS = 2  # for what a refused client still sends
PLACEHOLDER_REQUEST = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"


class State(ServerState):
    """What the connections of one server share."""

    ends = False  # whether each answer is the last one of its connection


class LingeringTransport:
    """A transport whose close may linger.

    A socket that is closed while its peer still sends resets the connection, and an answer that the
    peer has not read yet is lost.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._lingers = False
        self.linger_on_close = False
        self.write = transport.write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Return whether nothing is read or answered any more."""
        return self._lingers or self._transport.is_closing()

    def close(self) -> None:
        """Close, at once or when the peer has closed its side."""
        if not self.linger_on_close or self._transport.is_closing():
            self._transport.close()
        elif not self._lingers:
            self._lingers = True
            with contextlib.suppress(OSError):  # the peer has left
                self._transport.write_eof()
            self._transport.resume_reading()
            self._loop.call_later(LINGER_SECONDS, self._transport.close)


class Protocol(HttpToolsProtocol):
    """One connection."""

    refusal: RequestRefused | None = None
    in_body = False  # between the end of a request's head and its own end
    head = 0  # bytes read of a request's head
    trailers = 0  # bytes of the headers after a body
    unfinished = 0  # bytes of a body's framing that have not come to an end
    head_timer: asyncio.TimerHandle | None = None  # runs while a head is awaited
    answering: Any = None  # the request that is being answered; `cycle` is the last that came

    @property
    def ends(self) -> bool:
        """Return whether the server is to end."""
        return isinstance(self.server_state, State) and self.server_state.ends

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(LingeringTransport(transport, self.loop))  # type: ignore[arg-type]
        self.await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self.cancel_head_timeout()
        super().connection_lost(exc)
        if self.answering is not None and not self.answering.response_complete:
            self.answering.disconnected = True
            self.answering.message_event.set()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer the request that is whole, although nothing more will come; else close.

        Whoever waits is told by a message: a client that has left cannot be told from one that only
        ended its side.
        """
        if self.in_body or self.transport.is_closing():
            return None
        if self.cycle is None or self.cycle.response_complete:
            return None
        self.cycle.keep_alive = False
        self.cycle.message_event.set()
        self.answering.message_event.set()
        return True

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self.answering = cycle
        super()._start_asgi_task(cycle, app)

    def shutdown(self) -> None:
        """Answer what has been asked, and close; where nothing is, wait a moment for it.

        A proxy may be asking at this moment over a connection that it keeps.
        """
        if self.head > 0 or self.cycle is None or self.cycle.response_complete:
            self.cancel_head_timeout()
            self.await_head()
        else:
            super().shutdown()

    # --- Reading -------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Read on, unless this connection has been given up."""
        if self.refusal is not None or self.transport.is_closing():
            return
        self.head += 0 if self.in_body else len(data)
        self.unfinished += len(data)
        super().data_received(data)
        if self.refusal is not None:
            return
        if self.head > MAX_HEAD_BYTES:
            self.refuse(too_large("headers", MAX_HEAD_BYTES))
        elif self.in_body and self.unfinished > MAX_TRAILER_BYTES:
            self.refuse(too_large("trailers", MAX_TRAILER_BYTES))
        elif self.head > 0 and self.head_timer is None:
            self.await_head()

    def await_head(self) -> None:
        """Wait for a head no longer than is fit."""
        seconds = LAST_SECONDS if self.ends else HEAD_SECONDS
        self.head_timer = self.loop.call_later(seconds, self.head_timed_out)

    def head_timed_out(self) -> None:
        """End a connection on which no request arrives."""
        self.head_timer = None
        if self.head > 0:
            sentence = f"The request's headers did not arrive within {HEAD_SECONDS} seconds."
            self.refuse(RequestRefused(408, sentence))
        else:
            self.transport.close()

    def cancel_head_timeout(self) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.head = max(self.head, 1)  # it may have begun in the same bytes as the last one ended
        if self.refusal is not None:
            self.scope[REFUSAL] = self.refusal  # type: ignore[literal-required]

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what comes after the body could pass for one: it is thrown away."""
        if self.in_body:
            self.trailers += len(name) + len(value)
            self.unfinished = 0
            if self.trailers > MAX_TRAILER_BYTES and self.refusal is None:
                self.refuse(too_large("trailers", MAX_TRAILER_BYTES))
        else:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer, or have the request wait for the answers before it."""
        earlier, self.cycle = self.cycle, self.exchange()
        if earlier is None or earlier.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
        self.head = 0  # a body has a limit and a time of its own
        self.begin_body(True)
        self.cancel_head_timeout()

    def exchange(self) -> Exchange:
        """Return the request whose head has been read."""
        url, scope = httptools.parse_url(self.url), cast(dict[str, Any], self.scope)
        path = url.path.decode("ascii")
        version = self.parser.get_http_version()
        exchange = Exchange(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive() and not self.ends,
            on_response=self.on_response_complete,
        )
        scope |= {
            "method": self.parser.get_method().decode("ascii"),
            "http_version": version,
            "path": unquote(path) if "%" in path else path,
            "raw_path": url.path,
            "query_string": url.query or b"",
            EXCHANGE: exchange,
        }
        return exchange

    def on_chunk_header(self) -> None:
        """Read a chunk, or after the last one the trailers."""
        self.unfinished = 0

    def on_body(self, body: bytes) -> None:
        self.unfinished = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.begin_body(False)

    def begin_body(self, begins: bool) -> None:
        """Count anew. begins: whether a body begins, or has ended."""
        self.trailers = self.unfinished = 0
        self.in_body = begins
        self.transport.linger_on_close = begins or self.refusal is not None  # type: ignore[attr-defined]

    # --- Refusing ------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser could not read."""
        if isinstance(sys.exception(), httptools.HttpParserInvalidMethodError):
            methods = "GET, HEAD, POST, PATCH, DELETE"
            return self.refuse(RequestRefused(405, "There is no such method.", Allow=methods))
        return self.refuse(RequestRefused(400, "The request is not valid HTTP."))

    def refuse(self, refusal: RequestRefused) -> None:
        """Let the application refuse, as it refuses others, and close."""
        self.refusal = refusal
        if not self.in_body:  # there is no request yet: an empty one is refused instead
            self.parser = httptools.HttpRequestParser(self)
            self.parser.feed_data(PLACEHOLDER_REQUEST)
            self.transport.linger_on_close = True  # type: ignore[attr-defined]
        elif self.cycle.response_complete:
            self.transport.close()
        else:
            self.cycle.scope[REFUSAL] = refusal  # type: ignore[literal-required]
            self.cycle.keep_alive = self.cycle.more_body = False
            self.cycle.message_event.set()


def too_large(what: str, limit: int) -> RequestRefused:
    """Return the refusal of headers or trailers without an end."""
    return RequestRefused(431, f"The request's {what} are larger than {limit} bytes together.")
