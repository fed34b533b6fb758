"""The order of the log while many write, in the short form; `make faults` runs the long one.

How it was seen that this has teeth: `test_a_number_taken_early_is_caught`.
"""

import pytest

from tests.faults.conftest import Stores
from tests.faults.cuts import stream_cuts
from tests.faults.ordering import ordering
from tests.faults.service import on_servers

pytestmark = [pytest.mark.faults, pytest.mark.serial, pytest.mark.timeout(300)]


def test_who_reads_forward_misses_nothing(stores: Stores, seed: int) -> None:
    with stores() as service:
        writers, events = (8, 125) if stores is on_servers else (4, 100)
        report = ordering(service, writers=writers, events=events, seed=seed)
    print(report)
    assert not report.broken, str(report)


def test_a_number_taken_early_is_caught(stores: Stores) -> None:
    if stores is not on_servers:
        pytest.skip("transactions of the embedded database commit in the order of their ids")
    with stores(planted="number_taken_early") as service:
        report = ordering(service, writers=8, events=60, seed=1)
    assert any("skipped" in fault for fault in report.broken), str(report)


def test_a_listener_that_is_cut_off_loses_nothing(stores: Stores, seed: int) -> None:
    with stores() as service:
        report = stream_cuts(service, cuts=40, seed=seed)
    print(report)
    assert not report.broken, str(report)
