"""The work loop under faults, in the short form; `make faults` runs the long one.

How it was seen that these runs have teeth: the same runs against a service with a planted fault
(`tests/faults/planted.py`), see `test_planted_faults_are_caught`.
"""

import random
from collections.abc import Iterator

import pytest

from tests.faults import work
from tests.faults.service import Service, embedded

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A real service on the embedded stores."""
    with embedded() as running:
        yield running


@pytest.fixture
def seed() -> int:
    """A new one for each run; a failing report shows it."""
    return random.randrange(10**6)


def check(report: object) -> None:
    print(report)
    assert not report.broken, str(report)  # type: ignore[attr-defined]


def test_each_task_is_leased_once_in_a_storm_of_claimers(service: Service, seed: int) -> None:
    check(work.claim_storm(service, tasks=200, claimers=16, seed=seed))


def test_a_late_report_of_a_frozen_holder_is_refused(service: Service, seed: int) -> None:
    check(work.frozen_holders(service, holders=20, seed=seed))


def test_no_task_is_lost_with_its_agents(service: Service, seed: int) -> None:
    check(work.killed_agents(service, tasks=60, kills=6, agents=4, seed=seed, pause=0.7))


def test_at_the_moment_of_expiry_either_the_report_or_the_sweep_wins(service: Service, seed: int) -> None:
    check(work.reports_at_expiry(service, rounds=50, seed=seed))
