"""What is said of things done together: their statements, outcomes and events."""

from collections.abc import Callable
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from events_app.models import Event
from tasks_app.models import Task

LOG = ["WITH"] if connection.vendor == "postgresql" else ["UPDATE", "INSERT", "UPDATE"]


def kinds(call: Callable[[], Any]) -> list[str]:
    """Return the first word of each statement of a call, without the test's savepoints."""
    with CaptureQueriesContext(connection) as sent:
        call()
    words = [query["sql"].split()[0] for query in sent]
    return [word for word in words if word not in ("SAVEPOINT", "RELEASE")]


def names(outcomes: list[Any]) -> list[str]:
    """Return the status of each task, and the class of each refusal."""
    return [
        outcome.status if isinstance(outcome, Task) else type(outcome).__name__
        for outcome in outcomes
    ]


def told(task: Task) -> list[str]:
    """Return what the log says of a task, after its creation."""
    events = Event.objects.filter(task_id=task.task_id).order_by("position")
    return list(events.values_list("event_type", flat=True))[2:]
