"""Signing in to the console."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client


@pytest.fixture
def login(db: None) -> Callable[..., Client]:
    """Sign in: `login("Approvers")` as a new account of a group, `login(None)` as a superuser."""

    def sign_in(group: str | None, name: str = "dana", **client: Any) -> Client:
        user = User.objects.create_user(
            name, password="a-password-9", is_staff=True, is_superuser=group is None
        )
        if group:
            user.groups.add(Group.objects.get(name=group))
        browser = Client(raise_request_exception=False, **client)
        browser.force_login(user)
        return browser

    return sign_in
