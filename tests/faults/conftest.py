"""The stores that the fault runs hurt: of the kind that the tests run on, but their own."""

import os
import random
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.faults.service import Service, embedded, on_servers

Stores = Callable[..., AbstractContextManager[Service]]


@pytest.fixture(scope="session")
def stores() -> Stores:
    """Start a service: `with stores() as service`."""
    return on_servers if os.environ.get("DATABASE_URL") else embedded


@pytest.fixture
def seed() -> int:
    """A new one for each run; a failing report shows it."""
    return random.randrange(10**6)
