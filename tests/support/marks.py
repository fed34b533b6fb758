"""Marks that several test files put on their tests."""

import pytest
from django.db import connection

# Only where the stores are embedded: on others the same processes would do the same once more.
brings_its_own_stores = pytest.mark.skipif(
    connection.vendor == "postgresql", reason="Starts with embedded stores whatever the others are."
)
