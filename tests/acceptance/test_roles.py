"""Every endpoint asks for its role."""

from collections.abc import Callable
from typing import Any

import pytest

from tasks_app.models import Task

Callers = Callable[..., Any]

ROLES = [
    ("POST", "/tasks", "agent"),
    ("GET", "/tasks", "user"),
    ("GET", "/tasks/{task_id}", "user"),
    ("PATCH", "/tasks/{task_id}/status?status=completed", "agent"),
    ("POST", "/tasks/claim", "agent"),
    ("POST", "/tasks/batch", "agent"),
    ("POST", "/tasks/{task_id}/heartbeat", "agent"),
    ("POST", "/tasks/{task_id}/release", "agent"),
    ("POST", "/tasks/{task_id}/cancel", "agent"),
    ("POST", "/tasks/{task_id}/reassign", "admin"),
    ("POST", "/tasks/{task_id}/requeue", "admin"),
    ("GET", "/tasks/{task_id}/timeline", "user"),
    ("GET", "/tasks/dead-letters", "user"),
    ("POST", "/tasks/dead-letters/requeue", "admin"),
    ("GET", "/agents", "user"),
    ("PATCH", "/agents/dev_agent", "admin"),
    ("PATCH", "/task-types/bugfix", "admin"),
    ("GET", "/stats", None),
]

LADDER = [None, "user", "agent", "admin"]


@pytest.mark.parametrize("role", LADDER)
@pytest.mark.parametrize(("method", "path", "needed"), ROLES)
def test_every_door_asks_for_its_role(
    api: Callers,
    make_task: Callable[..., Task],
    method: str,
    path: str,
    needed: str | None,
    role: str | None,
) -> None:
    path = path.format(task_id=make_task().task_id)

    status = api(role).send(method, path, {} if method != "GET" else None).status_code

    if LADDER.index(role) < LADDER.index(needed):
        assert status == (401 if role is None else 403)
    else:
        assert status not in (401, 403)
