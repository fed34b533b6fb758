"""What `make bench` counts and reckons: callers, CPU time, turns and ratios."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.bench.cpu import cpu_seconds
from tests.bench.load import Caller, Sample, Step, create, read, sample
from tests.bench.ratios import Figures, Ratio, Row, turns

TASK = b'{"task_id": "task_1"}'


def answer(status: int, text: bytes) -> bytes:
    return b"HTTP/1.1 %d Said\r\ncontent-length: %d\r\n\r\n%b" % (status, len(text), text)


async def measured(step: Step, answers: dict[bytes, list[bytes]], connections: int) -> Sample:
    """Take a sample of a server that gives the same pieces for a method each time."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length: ")[2].split()[0])
            await reader.readexactly(length)
            for piece in answers[head.split()[0]]:
                writer.write(piece)
                await writer.drain()
            if not answers[head.split()[0]]:
                return writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    host, port = server.sockets[0].getsockname()
    used = iter([1.0, 3.0])
    try:
        return await sample(
            lambda: Caller(f"http://{host}:{port}", {}), step, connections, 0.05, lambda: next(used)
        )
    finally:
        server.close()


def test_operations_are_counted_and_the_cpu_time_is_shared_among_them() -> None:
    whole = answer(200, TASK)

    done = asyncio.run(measured(create, {b"POST": [whole[:20], whole[20:-3], whole[-3:]]}, 3))

    assert done.errors == [] and len(done.times) >= 3 and done.rate > 0
    assert done.cpu_us == pytest.approx(2_000_000 / len(done.times))


def test_a_refused_operation_is_an_error_and_no_time() -> None:
    answers = {b"POST": [answer(200, TASK)], b"GET": [answer(503, b"busy")]}

    done = asyncio.run(measured(read, answers, 1))

    assert done.times == [] and done.rate == 0 and done.cpu_us is None
    assert done.errors[0] == "GET /tasks/task_1 was answered 503: b'busy'"


def test_a_lost_connection_is_one_error() -> None:
    done = asyncio.run(measured(read, {b"POST": [answer(200, TASK)], b"GET": []}, 1))

    assert done.errors == ["the connection was closed"]


def stat(proc: Path, pid: int, parent: int, *ticks: int) -> None:
    """Write what /proc says of a process; a name may hold any character."""
    (proc / str(pid)).mkdir()
    used = " ".join(map(str, ticks))
    (proc / str(pid) / "stat").write_text(f"{pid} (a) b) S {parent} 1 1 0 -1 0 0 0 0 0 {used} 20 0")


def test_the_cpu_time_is_that_of_all_descendants_and_of_those_that_ended(tmp_path: Path) -> None:
    tick = os.sysconf("SC_CLK_TCK")
    stat(tmp_path, 10, 1, tick, tick, tick, tick)
    stat(tmp_path, 11, 10, tick, 0, 0, 0)
    stat(tmp_path, 12, 11, 0, tick, 0, 0)
    stat(tmp_path, 20, 1, tick, 0, 0, 0)
    stat(tmp_path, 30, 1, tick * 100, 0, 0, 0)  # somebody else's

    assert cpu_seconds([10, 20], tmp_path) == 7


def test_where_nothing_tells_there_is_no_cpu_time(tmp_path: Path) -> None:
    assert cpu_seconds([10], tmp_path) is None


def test_whoever_was_first_is_second_the_next_time_and_the_next_round() -> None:
    cells = [("create", 1), ("create", 8), ("read", 1)]

    first = [(cell, pair[0]) for cell, pair in turns(cells, 2, ("here", "there"))]

    assert first == [
        (cells[0], "here"), (cells[1], "there"), (cells[2], "here"),
        (cells[0], "there"), (cells[1], "here"), (cells[2], "there"),
    ]  # fmt: skip


def test_a_ratio_above_one_says_that_this_tree_does_better() -> None:
    here = [Sample(300.0, 100.0, [0.001, 0.002]), Sample(100.0, 200.0, [0.003])]
    there = [Sample(100.0, 400.0, [0.01], ["refused"]), Sample(100.0, 200.0, [0.02])]

    row = Row("create", 8, Figures.of(here), Figures.of(there))

    assert row.rate == Ratio([3.0, 1.0], 2.0, (1.0, 3.0))
    assert row.cpu == Ratio([4.0, 1.0], 2.5, (1.0, 4.0))
    assert (row.here.n, row.here.p50_ms, row.here.p99_ms) == (3, 2.0, 3.0)
    assert (row.there.errors, row.there.first_error) == (1, "refused")
    assert "rate × 2.00 (1.00–3.00: 3.00 1.00)   CPU × 2.50" in str(row)


def test_of_a_batch_its_items_a_second_are_said() -> None:
    one = Figures.of([Sample(40.0, 100.0, [0.001])])

    assert str(Row("batch", 1, one, one)).endswith("4,000 items/s")
    assert "items" not in str(Row("create", 1, one, one))


def test_without_cpu_times_there_is_no_ratio_of_them() -> None:
    one = Figures.of([Sample(300.0, None, [0.001])])

    assert Row("create", 1, one, one).cpu is None
    assert "CPU not known" in str(Row("create", 1, one, one))
