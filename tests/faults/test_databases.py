"""The database is killed and frozen, in the short form; `make faults` runs the long one."""

import pytest
from django.db import connection

from tests.faults.databases import databases
from tests.faults.service import on_servers


@pytest.mark.faults
@pytest.mark.serial
@pytest.mark.postgres
@pytest.mark.timeout(180)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite is a part of the service.")
def test_what_was_answered_survives_the_database_and_all_goes_on_by_itself(seed: int) -> None:
    with on_servers() as service:
        report = databases(service, faults=2, seed=seed)

    print(report)
    assert not report.broken, str(report)
