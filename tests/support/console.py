"""Signing in to the console, and deciding there."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from approvals_app.models import Approval
from orchestrator_site.core.actors import Actor
from tasks_app.models import Status, Task
from tasks_app.services import lifecycle

Make = Callable[..., Task]
Login = Callable[..., Client]
INBOX = "/admin/approvals_app/approval/"


@pytest.fixture
def login(db: None) -> Login:
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


def waiting(task: Task) -> Approval:
    return Approval.objects.get(task_id=task.task_id, status="pending")


def decide(client: Client, approval: Approval, verb: str = "approve", **form: str) -> Any:
    """Send a dialog as the page does."""
    sent = {"_form_submitted": "True", "digest": approval.digest, "reason": "Looked at it.", **form}
    address = f"{INBOX}{approval.approval_id}/{verb}/"
    return client.post(address, sent, headers={"HX-Request": "true"})


def said(client: Client) -> str:
    """Return the messages the next page shows."""
    return client.get(INBOX).content.decode()


def decide_many(client: Client, approvals: list[Approval], action: str, **form: str) -> Any:
    chosen = [approval.pk for approval in approvals]
    return client.post(INBOX, {"action": action, "index": "0", "_selected_action": chosen, **form})


def failed(task: Task, by: Actor, now: datetime) -> Task:
    return lifecycle.report_status(
        task_id=task.task_id, status=Status.FAILED, by=by, now=now, error="It broke."
    )
