"""Many tasks at once: all or none, or each for itself."""

from collections.abc import Iterable
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from typing import Any

from django.db import transaction

from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import DomainError, Invalid
from tasks_app.errors import Cycle
from tasks_app.models import Task
from tasks_app.services import intake


def create_all(news: list[dict[str, Any]], *, by: Actor, now: datetime) -> list[Task]:
    """Create all of the tasks or, if one cannot be, none; return them in the order given."""
    order = in_order(news)
    with transaction.atomic():
        made = create_in_order(news, order, by=by, now=now)
    return [made[place] for place in range(len(news))]


def create_in_order(
    news: list[dict[str, Any]], order: Iterable[int], *, by: Actor, now: datetime
) -> dict[int, Task]:
    """Create tasks after those they wait for; return them by their place in the batch."""
    made: dict[int, Task] = {}
    ids: dict[str, str] = {}
    for place in order:
        try:
            made[place] = create_one(news[place], ids, by=by, now=now)
        except DomainError as refusal:
            raise Invalid(f"Task {place} of the batch: {refusal}", field=f"tasks.{place}") from None
    return made


def create_each(
    news: list[dict[str, Any]], *, by: Actor, now: datetime
) -> list[Task | DomainError]:
    """Create what can be created; return a task or the refusal in each place."""
    outcome: list[Task | DomainError] = [Cycle() for _ in news]
    ids: dict[str, str] = {}
    for place in in_order(news):
        try:
            outcome[place] = create_one(news[place], ids, by=by, now=now)
        except DomainError as refusal:
            outcome[place] = refusal
    return outcome


def create_one(new: dict[str, Any], ids: dict[str, str], *, by: Actor, now: datetime) -> Task:
    """Create one task of a batch. ids: the task ids behind the `ref`s so far; this one's is added."""
    fields = {name: value for name, value in new.items() if name != "ref"}
    if needed := fields.get("depends_on"):
        fields["depends_on"] = [ids.get(name, name) for name in needed]
    task = intake.create_task(**fields, by=by, now=now)
    if ref := new.get("ref"):
        ids[ref] = task.task_id
    return task


def in_order(news: list[dict[str, Any]]) -> list[int]:
    """Return the places of a batch so that each comes after those it waits for; raise Cycle."""
    places = {new["ref"]: place for place, new in enumerate(news) if new.get("ref")}
    if len(places) < sum(1 for new in news if new.get("ref")):
        raise Invalid("Each ref may be used once in a batch.", field="tasks")
    graph = {
        place: [places[name] for name in new.get("depends_on", ()) if name in places]
        for place, new in enumerate(news)
    }
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError:
        raise Cycle(field="depends_on") from None
