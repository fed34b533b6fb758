"""What a server says when it is ready is true of where it runs."""

from typing import Any

import pytest

from orchestrator_site.server.banner import login


@pytest.mark.parametrize(
    ("database", "password", "said"),
    [
        ("", "s3cret", "admin / s3cret   (shown this once)"),
        ("", "", "as before (forgotten? .venv/bin/python manage.py changepassword admin)"),
        (
            "postgres://somewhere/orchestrator",
            "",
            "your account (the first one: .venv/bin/python manage.py createsuperuser)",
        ),
    ],
)
def test_the_login_that_is_named_is_one_that_exists(
    settings: Any, database: str, password: str, said: str
) -> None:
    settings.DATABASE_URL = database

    assert login(password) == said
