"""What goes over the wire between us and PostgreSQL."""

import contextlib
import dataclasses
import re
import tempfile
from collections.abc import Iterator
from typing import Any


@dataclasses.dataclass
class Wire:
    """What was sent to the server, by the names of its messages, in their order."""

    sent: list[str] = dataclasses.field(default_factory=list)

    @property
    def trips(self) -> int:
        """Return how often an answer was waited for."""
        return self.sent.count("Sync") + self.sent.count("Query")


@contextlib.contextmanager
def wire_of(wrapper: Any) -> Iterator[Wire]:
    """Note what is sent on one of Django's connections, which is open."""
    wire, pgconn = Wire(), wrapper.connection.pgconn
    with tempfile.TemporaryFile("w+") as file:
        pgconn.trace(file.fileno())
        try:
            yield wire
        finally:
            pgconn.untrace()
            file.seek(0)
            wire.sent += re.findall(r"^\S* *\S*\tF\t\d+\t(\w+)", file.read(), re.MULTILINE)
