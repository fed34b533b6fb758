"""What callers do again and again over kept-open connections, all on one event loop.

A caller costs far less than the service it calls, so that the service is what is measured.
"""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.bench.client import EVENT, TASK, Refused

CONNECTIONS = (1, 8, 32)
ITEMS = {"batch": 100}  # that one operation handles, where it is more than one
LONGEST = 30  # seconds: what takes longer than that beyond the end is an error
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Caller(asyncio.Protocol):
    """One connection that sends a request at a time, and the task it reads."""

    task_id = ""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        """headers: sent with every request, such as the credential."""
        self.address = urlsplit(url)
        own = {"Host": self.address.netloc, "Content-Type": "application/json", **headers}
        lines = "".join(f"\r\n{name}: {value}" for name, value in own.items())
        self.start = f" HTTP/1.1{lines}\r\nContent-Length: "
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what requests are written to."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand over the answer once it is whole."""
        self.received += data
        head, end_of_head, body = self.received.partition(b"\r\n\r\n")
        if not end_of_head:
            return
        length = LENGTH.search(head)
        if length is None:
            return self.connection_lost(ConnectionError("an answer of no known length"))
        if len(body) >= int(length[1]) and not self.answer.done():
            self.received = b""
            self.answer.set_result((int(head[9:12]), body))

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the one who waits for an answer that none will come."""
        if hasattr(self, "answer") and not self.answer.done():
            self.answer.set_exception(error or ConnectionError("the connection was closed"))

    async def send(self, method: str, path: str, body: Any = None) -> bytes:
        """Send a request; return the text of the answer, or raise Refused or OSError."""
        content = b"" if body is None else json.dumps(body).encode()
        self.answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        if self.transport.is_closing():
            raise ConnectionError("the connection was closed")
        self.transport.write(
            f"{method} {path}{self.start}{len(content)}\r\n\r\n".encode() + content
        )
        status, text = await self.answer
        if status != 200:
            raise Refused(method, path, status, text)
        return text


Step = Callable[[Caller], Awaitable[Any]]


async def create(caller: Caller) -> None:
    """Hand in a task."""
    await caller.send("POST", "/tasks", TASK)


async def batch(caller: Caller) -> None:
    """Hand in a hundred tasks at once."""
    await caller.send("POST", "/tasks/batch", {"tasks": [TASK] * ITEMS["batch"]})


async def read(caller: Caller) -> None:
    """Read the caller's task."""
    await caller.send("GET", f"/tasks/{caller.task_id}")


async def publish(caller: Caller) -> None:
    """Publish an event."""
    await caller.send("POST", "/events/publish", EVENT)


async def cycle(caller: Caller) -> None:
    """Hand in a task, take one, start it, complete it."""
    await caller.send("POST", "/tasks", {**TASK, "type": "documentation"})
    tasks: list[dict[str, Any]] = []
    while not tasks:
        claimed = await caller.send("POST", "/tasks/claim", {"agent": "faq_agent"})
        tasks = json.loads(claimed)["tasks"]
    for status in ("in_progress", "completed"):
        report = {"status": status, "attempt": tasks[0]["attempt"]}
        await caller.send("PATCH", f"/tasks/{tasks[0]['task_id']}/status", report)


async def page(caller: Caller) -> None:
    """Read the log from its beginning, twenty events."""
    await caller.send("GET", "/events?after=beginning&limit=20")


async def health(caller: Caller) -> None:
    """Ask how the service is."""
    await caller.send("GET", "/health")


MEASURES: dict[str, Step] = {
    "create": create,
    "batch": batch,
    "read": read,
    "publish": publish,
    "cycle": cycle,
    "page": page,
    "health": health,
}


@dataclass
class Sample:
    """What so many connections did in one go."""

    rate: float = 0.0  # operations a second of all connections together
    cpu_us: float | None = None  # of all processes of the service, for each operation
    times: list[float] = field(default_factory=list)  # seconds of each operation
    errors: list[str] = field(default_factory=list)


async def sample(
    connect: Callable[[], Caller],
    step: Step,
    connections: int,
    seconds: float,
    cpu_seconds: Callable[[], float | None] = lambda: None,
) -> Sample:
    """Return what so many connections do when they repeat a step for so many seconds.

    cpu_seconds: tells what the service has used up so far, or None where nothing tells.
    """
    with ExitStack() as opened:
        callers = [await connected(connect, opened) for _ in range(connections)]
        result, before = Sample(), cpu_seconds()
        runs = [asyncio.create_task(repeat(caller, step, seconds, result)) for caller in callers]
        _, late = await asyncio.wait(runs, timeout=seconds + LONGEST)
        after = cpu_seconds()
        for run in late:
            run.cancel()
            result.errors.append(f"no answer within {LONGEST} seconds")
    if before is not None and after is not None and result.times:
        result.cpu_us = (after - before) / len(result.times) * 1_000_000
    return result


async def connected(connect: Callable[[], Caller], opened: ExitStack) -> Caller:
    """Return a caller whose connection is open and warm."""
    caller = connect()
    address = caller.address
    await asyncio.get_running_loop().create_connection(
        lambda: caller, address.hostname or "", address.port or 80
    )
    opened.callback(caller.transport.close)
    caller.task_id = json.loads(await caller.send("POST", "/tasks", TASK))["task_id"]
    return caller


async def repeat(caller: Caller, step: Step, seconds: float, result: Sample) -> None:
    """Repeat the step until the time is over or the connection lost.

    The rate is of this caller's whole steps in the time they took: the last one ends late.
    """
    began = now = time.monotonic()
    done = 0
    while now < began + seconds:
        start = now
        try:
            await step(caller)
        except Refused as refusal:
            result.errors.append(str(refusal))
        except OSError as error:
            result.errors.append(str(error))
            break
        else:
            done += 1
            result.times.append(time.monotonic() - start)
        now = time.monotonic()
    result.rate += done / max(time.monotonic() - began, seconds)
