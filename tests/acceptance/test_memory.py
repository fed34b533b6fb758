"""Many large answers at once do not fill the memory of a server, and are given back afterwards."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.service import Service, embedded

READERS, MOST_MIB = 10, 600  # of a process that begins with 120, on a machine of any speed


@pytest.fixture
def service() -> Iterator[Service]:
    """A server of its own, whose memory no other test has touched."""
    with embedded(ORCHESTRATOR_RATE_LIMIT_SCALE="100000") as running:
        yield running


@pytest.mark.serial
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_ten_readers_of_large_tasks_do_not_fill_the_memory(service: Service) -> None:
    caller = service.caller("dev-agent-1")
    task = {"type": "bugfix", "payload": {"text": "x" * 1_000_000}}
    for _ in range(40):
        assert caller.send("POST", "/tasks", task).status_code == 200

    def read(number: int) -> int:
        return len(service.caller(f"reader-{number}").send("GET", "/tasks?limit=200").content)

    with ThreadPoolExecutor(READERS) as pool:
        assert all(4_000_000 < size < 4_010_000 for size in pool.map(read, range(READERS)))

    assert peak_of(service) < MOST_MIB


def peak_of(service: Service) -> int:
    """Return the most memory the server ever had, in MiB."""
    assert service.process
    status = Path(f"/proc/{service.process.popen.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) // 1024
