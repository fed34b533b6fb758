"""One request on a connection, and its answer: an ASGI cycle for what arrives and leaves whole."""

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

EXCHANGE = "orchestrator.exchange"  # in the ASGI scope, where no client can put it


class Exchange(RequestResponseCycle):
    """A cycle whose body need not be awaited once it is there, and whose answer is one write.

    Each call of the system lets the GIL go, and gets it back from the writing thread.
    """

    start: Any = None  # the beginning of an answer, until what follows it is known

    def whole_body(self) -> bytes | None:
        """Return the body if all of it has arrived, None if it must be received."""
        if self.more_body or self.disconnected or self.waiting_for_100_continue:
            return None
        self.flow.resume_reading()
        self.message_event.clear()
        body, self.body = bytes(self.body), bytearray()
        return body

    async def send(self, message: "ASGISendEvent") -> None:
        if message["type"] == "http.response.start" and not self.response_started:
            self.start = message
            return
        start, self.start = self.start, None
        if start is not None:
            if self.is_whole(start, message):
                return self.write_whole(start, message)
            await super().send(start)
        await super().send(message)

    def is_whole(self, start: Any, message: Any) -> bool:
        """Return whether an answer can be written at once, and the connection stays."""
        headers = dict(start["headers"])
        return (
            self.keep_alive
            and not (self.disconnected or self.flow.write_paused or message.get("more_body"))
            and headers.get(b"content-length") == b"%d" % len(message["body"])
            and b"connection" not in headers
            and self.scope["method"] != "HEAD"
        )

    def write_whole(self, start: Any, message: Any) -> None:
        """Write an answer."""
        headers = [*self.default_headers, *start["headers"]]
        head = b"".join([b"%b: %b\r\n" % header for header in headers])
        if head.count(b"\n") != len(headers) or head.count(b"\r") != len(headers):
            raise RuntimeError("A header of an answer breaks its line.")
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(STATUS_LINE[start["status"]] + head + b"\r\n" + message["body"])
        self.message_event.set()
        self.on_response()
