"""HTTP as it comes over the wire: uvicorn reads it, and what is no request is refused like any other bad one."""

import asyncio
import sys

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from orchestrator_site.admission import REFUSAL, Refused

MAX_HEAD_BYTES = 131_072  # of a request's first line and headers: without an end they would fill the memory
HEAD_SECONDS = 25  # for all of it to arrive
NOTHING = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"


class Protocol(HttpToolsProtocol):
    """One connection."""

    refusal: Refused | None = None
    head = 0  # bytes read of a request's head
    patience: asyncio.TimerHandle | None = None  # runs while a head is awaited

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self.patience = self.loop.call_later(HEAD_SECONDS, self.lose_patience)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.be_patient()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless this connection has been given up."""
        if self.refusal is not None:
            return
        self.head += len(data)
        super().data_received(data)
        if self.head > MAX_HEAD_BYTES and self.refusal is None:
            self.refuse(Refused(431, f"The request's headers are larger than {MAX_HEAD_BYTES} bytes together."))
        elif self.head > 0 and self.patience is None:
            self.patience = self.loop.call_later(HEAD_SECONDS, self.lose_patience)

    def lose_patience(self) -> None:
        """End a connection on which no request arrives."""
        self.patience = None
        if self.head > 0:
            self.refuse(Refused(408, f"The request's headers did not arrive within {HEAD_SECONDS} seconds."))
        else:
            self.transport.close()

    def be_patient(self) -> None:
        """Wait for nothing."""
        if self.patience is not None:
            self.patience.cancel()
            self.patience = None

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.head = max(self.head, 1)  # it may have begun in the same bytes as the last one ended
        if self.refusal is not None:
            self.scope[REFUSAL] = self.refusal  # type: ignore[literal-required]

    def on_headers_complete(self) -> None:
        """Ask the application."""
        super().on_headers_complete()
        self.head = -sys.maxsize  # a body has a limit and a time of its own
        self.be_patient()

    def on_message_complete(self) -> None:
        """End a request; another one may follow."""
        super().on_message_complete()
        self.head = 0

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser could not read."""
        if isinstance(sys.exception(), httptools.HttpParserInvalidMethodError):
            return self.refuse(Refused(405, "There is no such method.", Allow="GET, HEAD, POST, PATCH, DELETE"))
        return self.refuse(Refused(400, "The request is not valid HTTP."))

    def refuse(self, refusal: Refused) -> None:
        """Let the application refuse, as it refuses others, and close; whose body broke off has no answer to come."""
        self.refusal = refusal
        if self.cycle is not None and self.cycle.more_body:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.cycle = None  # type: ignore[assignment]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(NOTHING)
