"""The service itself is killed, in the short form.

How it was seen that this has teeth: with `event_after_commit` planted it finds tasks without their
event (`python -m tests.faults --teeth --only event_after_commit`).
"""

import pytest

from tests.faults.conftest import Stores
from tests.faults.crashes import crashes


@pytest.mark.faults
@pytest.mark.serial
@pytest.mark.timeout(180)
def test_what_was_answered_survives_a_kill_of_the_service_with_its_event_once(
    stores: Stores, seed: int
) -> None:
    with stores() as service:
        report = crashes(service, kills=2, seed=seed)

    print(report)
    assert not report.broken, str(report)
