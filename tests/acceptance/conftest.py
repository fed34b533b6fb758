"""The service that tests of whole journeys share."""

from collections.abc import Iterator

import pytest

from tests.support.live import LiveServer, live_server


@pytest.fixture(scope="session")
def server() -> Iterator[LiveServer]:
    """A service that nobody stops or empties: each test has types, names and consumers of its own.

    Files whose tests need other settings, or a service to themselves, replace it and say why.
    """
    streams = {"MAX_STREAMS_PER_PRINCIPAL": "5", "STREAM_CHECK_SECONDS": "1"}
    with live_server(**{f"ORCHESTRATOR_{name}": streams[name] for name in streams}) as running:
        yield running
