"""The order of the log while many write, in the short form; `make faults` runs the long one."""

import random

import pytest

from tests.faults.cuts import stream_cuts
from tests.faults.ordering import ordering
from tests.faults.service import embedded, on_servers
from tests.servers import NotInstalled

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


@pytest.mark.parametrize(("stores", "events"), [(embedded, 50), (on_servers, 125)], ids=["embedded", "servers"])
def test_who_reads_forward_misses_nothing(stores: object, events: int) -> None:
    try:
        with stores() as service:  # type: ignore[operator]
            report = ordering(service, writers=8, events=events, seed=random.randrange(10**6))
    except NotInstalled as missing:
        pytest.skip(str(missing))
    print(report)
    assert not report.broken, str(report)


def test_a_cursor_by_id_is_caught() -> None:
    try:
        with on_servers(planted="cursor_by_id") as service:
            report = ordering(service, writers=8, events=60, seed=1)
    except NotInstalled as missing:
        pytest.skip(str(missing))
    assert any("skipped" in fault for fault in report.broken), str(report)


def test_a_listener_that_is_cut_off_loses_nothing() -> None:
    with embedded() as service:
        report = stream_cuts(service, cuts=40, seed=random.randrange(10**6))
    print(report)
    assert not report.broken, str(report)
