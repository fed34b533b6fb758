"""The work loop under faults, in the short form; `make faults` runs the long one.

How it was seen that these runs have teeth: the same runs against a service with a planted fault
(`tests/faults/planted.py`) must show it: `python -m tests.faults --teeth`. Seen on 23 November 2026
with 20 frozen holders (20 of 20 late reports taken), 100 reports at expiry (28 undone), and 300
tasks in a storm (225 leased twice).
"""

from collections.abc import Iterator

import pytest

from tests.faults import work
from tests.faults.conftest import Stores
from tests.faults.service import Report, Service

pytestmark = [pytest.mark.faults, pytest.mark.serial, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def service(stores: Stores) -> Iterator[Service]:
    """A real service."""
    with stores() as running:
        yield running


def check(report: Report) -> None:
    print(report)
    assert not report.broken, str(report)


def test_each_task_is_leased_once_in_a_storm_of_claimers(service: Service, seed: int) -> None:
    check(work.claim_storm(service, tasks=200, claimers=16, seed=seed))


def test_a_late_report_of_a_frozen_holder_is_refused(service: Service, seed: int) -> None:
    check(work.frozen_holders(service, holders=20, seed=seed))


def test_no_task_is_lost_with_its_agents(service: Service, seed: int) -> None:
    check(work.killed_agents(service, tasks=60, kills=6, agents=4, seed=seed, pause=0.7))


def test_at_the_moment_of_expiry_either_the_report_or_the_sweep_wins(
    service: Service, seed: int
) -> None:
    check(work.reports_at_expiry(service, rounds=60, seed=seed, at_once=20))
