"""The service itself is killed, in the short form.

How it was seen that this has teeth: with `event_after_commit` planted it finds tasks without their event
(`python -m tests.faults --teeth --only event_after_commit`).
"""

import random

import pytest

from tests.faults.crashes import crashes
from tests.faults.service import embedded


@pytest.mark.faults
@pytest.mark.timeout(180)
def test_what_was_answered_survives_a_kill_of_the_service_with_its_event_once() -> None:
    with embedded() as service:
        report = crashes(service, kills=2, seed=random.randrange(10**6))

    print(report)
    assert not report.broken, str(report)
