"""The service is stopped under load, in the short form; `make faults` runs the long one.

How it was seen that this has teeth: while what waited in the kernel was left to it when the socket
was closed, connections were reset in most runs.
"""

import http.client
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from django.db import connection

from tests.faults.conftest import Stores
from tests.faults.restarts import restarts, rolling
from tests.faults.service import Service

pytestmark = [pytest.mark.faults, pytest.mark.serial, pytest.mark.timeout(180)]
# A service that ends waits a second for what was sent to it.
A_SECOND_COUNTS = pytest.mark.serial(timed=True)
ASKS = b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def service(stores: Stores) -> Iterator[Service]:
    """A real service."""
    with stores() as running:
        yield running


def test_a_connection_that_is_made_is_answered_although_the_service_is_stopped(
    service: Service, seed: int
) -> None:
    report = restarts(service, stops=2, requests=300, seed=seed)

    print(report)
    assert not report.broken, str(report)


def test_a_service_that_is_held_up_while_it_closes_its_socket_resets_nobody(
    stores: Stores, seed: int
) -> None:
    with stores(planted="held_up_at_closing") as service:
        report = restarts(service, stops=2, requests=300, seed=seed)

    print(report)
    assert not report.broken, str(report)


@A_SECOND_COUNTS
def test_who_has_connected_and_asks_a_moment_after_the_signal_is_answered(service: Service) -> None:
    assert service.process
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as way:
        service.process.popen.terminate()
        refuses(str(address.hostname), int(address.port or 0))
        way.sendall(ASKS)
        answer = way.makefile("rb").read()

    assert answer.startswith(b"HTTP/1.1 200 ") and b"connection: close" in answer.lower()
    assert service.process.finish() == 0


@A_SECOND_COUNTS
def test_who_keeps_a_connection_and_asks_again_after_the_signal_is_answered(
    stores: Stores,
) -> None:
    with stores() as service:
        assert service.process
        address = urlsplit(service.url)
        kept = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
        kept.request("GET", "/live")
        assert kept.getresponse().read()
        service.process.popen.terminate()
        refuses(str(address.hostname), int(address.port or 0))
        kept.request("GET", "/live")
        answer = kept.getresponse()

        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert service.process.finish() == 0


def refuses(host: str, port: int) -> None:
    """Return when the service takes no new connection: it is not asked, or refuses."""
    while True:
        try:
            socket.create_connection((host, port), timeout=0.1).close()
        except (ConnectionRefusedError, TimeoutError):
            return


@pytest.mark.postgres
@A_SECOND_COUNTS
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite serves one process only.")
def test_services_restarted_in_turn_behind_nginx_answer_everything(seed: int) -> None:
    report = rolling(rounds=1, requests=200, seed=seed)

    print(report)
    assert not report.broken, str(report)
