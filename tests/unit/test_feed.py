"""What a stream is written, by hand of the feed, without a log: the frames are made up."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from events_app.errors import CursorAhead, CursorExpired
from events_app.log import reading
from events_app.models import Event
from events_app.rules import cursor
from events_app.streams import broadcaster, sse
from events_app.streams.broadcaster import Broadcaster, StreamWriter
from events_app.streams.sse import EncodedEvent, StreamRequest
from tests.conftest import actor


class Socket:
    """A connection: takes what is sent, unless its reader has stopped."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.flows = asyncio.Event()
        self.flows.set()
        self.aborted = False
        self.transport = SimpleNamespace(abort=self.abort)

    async def send(self, message: dict[str, Any]) -> None:
        await self.flows.wait()
        self.taken.append(message["body"])

    def abort(self) -> None:
        self.aborted = True
        self.flows.set()

    @property
    def text(self) -> bytes:
        return b"".join(self.taken)


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 10))


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def frame(position: int, event_type: str = "a.x", size: int = 0, **about: str) -> EncodedEvent:
    said = {"task_id": "", "trace_id": "", "source_agent": "dev", **about}
    return EncodedEvent(
        position,
        event_type,
        **said,
        plain=b"%d;" % position + b" " * size,
        cloud=b"cloud %d;" % position,
    )


def stream(socket: Socket, position: int = 0, **asked: Any) -> StreamWriter:
    return StreamWriter(StreamRequest(position, actor("listener"), {}, **asked), socket.send)


def test_a_frame_goes_to_those_who_want_it_in_their_shape() -> None:
    async def story() -> None:
        hub = Broadcaster()
        asked: list[dict[str, Any]] = [
            {},
            {"types": ("b.*",)},
            {"task_id": "task_1"},
            {"cloud": True},
            {"types": ("a.x",)},
        ]
        sockets = [Socket() for _ in asked]
        members = [stream(socket, **each) for socket, each in zip(sockets, asked, strict=True)]
        writing = [asyncio.create_task(member.write()) for member in members]
        assert all(map(hub._join, members))

        hub._broadcast([frame(1), frame(2, "b.y"), frame(3, task_id="task_1")], 3)
        await settle()

        texts = [socket.text for socket in sockets]
        assert texts == [b"1;2;3;", b"2;", b"3;", b"cloud 1;cloud 2;cloud 3;", b"1;3;"]
        assert {member.position for member in members} == {3}
        for task in writing:
            task.cancel()

    run(story)


@pytest.mark.parametrize(
    ("position", "joins", "heard"),
    [(2, False, b""), (3, True, b"4;5;"), (5, True, b""), (7, True, b"")],
)
def test_who_joins_gets_what_lies_between_and_nothing_twice(
    position: int, joins: bool, heard: bytes
) -> None:
    async def story() -> None:
        hub, socket = Broadcaster(), Socket()
        assert hub._join(stream(Socket(), position=3))
        hub._broadcast([frame(4), frame(5)], 5)
        late = stream(socket, position=position)

        assert hub._join(late) is joins
        writing = asyncio.create_task(late.write())
        await settle()
        assert socket.text == heard
        hub._broadcast([frame(6), frame(7), frame(8)], 8)
        await settle()

        after = (
            b"".join(b"%d;" % number for number in range(max(position, 5) + 1, 9)) if joins else b""
        )
        assert socket.text == heard + after
        writing.cancel()

    run(story)


def test_a_slow_reader_falls_behind_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcaster, "BACKLOG", 1000)

    async def story() -> None:
        hub, slow, quick = Broadcaster(), Socket(), Socket()
        members = [stream(slow), stream(quick)]
        writing = [asyncio.create_task(member.write()) for member in members]
        assert all(map(hub._join, members))
        slow.flows.clear()
        for position in range(1, 6):
            hub._broadcast([frame(position, size=400)], position)
            await settle()

        assert quick.text.count(b";") == 5
        assert hub._members == {members[1]}
        slow.flows.set()
        assert await writing[0] is False  # it did not end: it is to catch up, from where it is
        assert members[0].position == slow.text.count(b";") < 5
        writing[1].cancel()

    run(story)


def test_a_reader_that_takes_nothing_is_cut_off() -> None:
    async def story() -> None:
        socket = Socket()
        stuck = stream(socket)
        writing = asyncio.create_task(stuck.write())
        socket.flows.clear()
        stuck.offer(b"1;")
        await settle()
        began = stuck.written_at

        assert not stuck.is_stuck(began + broadcaster.STUCK) and stuck.is_stuck(
            began + broadcaster.STUCK + 1
        )
        stuck.drop()

        assert socket.aborted and await writing is True

    run(story)


def test_a_quiet_stream_says_that_it_is_there_and_where() -> None:
    async def story() -> None:
        socket = Socket()
        quiet = stream(socket, position=7)
        writing = asyncio.create_task(quiet.write())
        quiet.send_keepalive(quiet.written_at + broadcaster.QUIET - 1)
        await settle()
        assert socket.text == b""

        quiet.send_keepalive(quiet.written_at + broadcaster.QUIET)
        await settle()

        assert socket.text == b": still here\n\nid: " + cursor(7).encode() + b"\n\n"
        writing.cancel()

    run(story)


def test_the_end_comes_after_what_waits() -> None:
    async def story() -> None:
        socket = Socket()
        ending = stream(socket)
        ending.offer(b"1;")
        ending.end(b"why")
        ending.offer(b"2;")

        assert await ending.write() is True and socket.text == b"1;why"

    run(story)


def test_an_event_is_encoded_once_and_only_in_the_forms_that_open_streams_read(
    monkeypatch: pytest.MonkeyPatch, now: datetime
) -> None:
    event = Event(event_type="a.x", position=1, created_at=now)
    encoded = []
    monkeypatch.setattr(reading, "read", lambda **asked: ([event], 1))
    monkeypatch.setattr(sse.orjson, "dumps", lambda data, **_: encoded.append(data) or b"{}")

    async def story() -> None:
        hub, sockets = Broadcaster(), [Socket(), Socket(), Socket()]
        members = [stream(socket) for socket in sockets[:2]]
        hub.streams.update(members)
        assert all(map(hub._join, members))
        await hub._read()

        assert len(encoded) == 1 and "event_id" in encoded[0]
        late = stream(sockets[2], cloud=True)
        hub._join(late)
        assert late not in hub._members and late.position == 0  # it reads the log instead
        writing = [asyncio.create_task(member.write()) for member in members]
        await settle()
        first, second = (socket.taken[0] for socket in sockets[:2])
        assert first is second
        for task in writing:
            task.cancel()

    run(story)


@pytest.mark.parametrize("fault", [CursorAhead(head="x"), CursorExpired(oldest="x")])
def test_who_cannot_go_on_where_it_is_is_told_so(
    monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def read(position: int, forms: set[bool]) -> None:
        raise fault

    monkeypatch.setattr(broadcaster, "read_encoded", read)

    async def story() -> None:
        hub, socket = Broadcaster(), Socket()
        member = stream(socket, position=7)
        assert hub._join(member)

        await hub._read()

        assert await member.write() is True and hub._members == set()
        assert b'"code":410' in socket.text and b'"x"' in socket.text

    run(story)


def test_what_is_kept_for_those_who_join_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcaster, "KEPT_BYTES", 1000)

    async def story() -> None:
        hub = Broadcaster()
        assert hub._join(stream(Socket()))
        hub._broadcast([frame(position, size=400) for position in range(1, 10)], 9)

        assert [each.position for each in hub._recent] == [8, 9]
        assert not hub._join(stream(Socket(), position=6)) and hub._join(
            stream(Socket(), position=7)
        )

    run(story)


def committed(position: int, event_type: str = "a.x") -> Event:
    moment = datetime.fromisoformat("2026-01-31T12:00:00Z")
    return Event(position=position, event_type=event_type, created_at=moment)


def test_what_was_just_committed_is_written_from_memory() -> None:
    async def story() -> None:
        hub, socket = Broadcaster(), Socket()
        member = stream(socket, position=3)
        writing = asyncio.create_task(member.write())
        hub.streams.add(member)
        assert hub._join(member)

        hub.take([committed(3, "seen.before"), committed(4, "a.four"), committed(5, "a.five")])
        hub._write_committed()
        await settle()

        assert socket.text.count(b"event: a.") == 2 and b"seen.before" not in socket.text
        assert hub.position == member.position == 5
        writing.cancel()

    run(story)


def test_nothing_is_written_from_memory_after_a_gap() -> None:
    async def story() -> None:
        hub, socket = Broadcaster(), Socket()
        member = stream(socket, position=3)
        hub.streams.add(member)
        assert hub._join(member)

        hub.take([committed(5)])
        hub._write_committed()
        assert hub.position == 3
        hub.take([committed(4)])
        hub._write_committed()
        assert hub.position == 3  # the log is read, as both are in it

        hub._broadcast([frame(4), frame(5)], 5)
        hub.take([committed(6)])
        hub._write_committed()
        assert hub.position == 6

    run(story)


def test_nothing_is_kept_where_nobody_listens() -> None:
    async def story() -> None:
        hub = Broadcaster()
        hub.take([committed(1)])
        assert not hub._committed

    run(story)


def test_the_log_is_read_soon_after_memory_for_what_others_committed() -> None:
    async def story() -> None:
        hub = Broadcaster()
        member = stream(Socket(), position=3)
        assert hub._join(member)
        hub._woken.clear()

        hub.take([committed(4)])
        assert hub._write_committed() and not hub._write_committed()
        hub._read_soon()
        first = hub._soon
        hub._read_soon()
        assert hub._soon is first is not None and not hub._woken.is_set()

        hub._wake_again()
        assert hub._woken.is_set() and hub._soon is None
        first.cancel()

    run(story)
