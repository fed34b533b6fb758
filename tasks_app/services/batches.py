"""Many tasks at once: all or none, or each for itself."""

from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from typing import Any

from events_app.services import change
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import DomainError, Invalid
from tasks_app.errors import Cycle
from tasks_app.models import Task
from tasks_app.services import intake


@change
def create_all(news: list[dict[str, Any]], *, by: Actor, now: datetime) -> list[Task]:
    """Create all of the tasks or, if one cannot be, none; return them in the order given."""
    tasks: dict[int, Task] = {}
    ids: dict[str, str] = {}
    for place in in_order(dict(enumerate(news))):
        try:
            tasks[place] = create_one(news[place], ids, by=by, now=now)
        except DomainError as refusal:
            raise Invalid(f"Task {place} of the batch: {refusal}", field=f"tasks.{place}") from None
    return [tasks[place] for place in range(len(news))]


def create_each(
    news: list[dict[str, Any] | DomainError], *, by: Actor, now: datetime
) -> list[Task | DomainError]:
    """Create what can be created; return a task or the refusal in each place.

    news: the fields of each task, or why it was refused before.
    """
    outcomes: dict[int, Task | DomainError] = {}
    valid: dict[int, dict[str, Any]] = {}
    for place, new in enumerate(news):
        if isinstance(new, DomainError):
            outcomes[place] = new
        else:
            valid[place] = new
    ids: dict[str, str] = {}
    for place in in_order(valid):
        try:
            outcomes[place] = create_one(valid[place], ids, by=by, now=now)
        except DomainError as refusal:
            outcomes[place] = refusal
    return [outcomes[place] for place in range(len(news))]


def create_one(new: dict[str, Any], ids: dict[str, str], *, by: Actor, now: datetime) -> Task:
    """Create one task of a batch. ids: the task ids of the `ref`s so far; this one's is added."""
    fields = {name: value for name, value in new.items() if name != "ref"}
    if needed := fields.get("depends_on"):
        fields["depends_on"] = [ids.get(name, name) for name in needed]
    task = intake.create_task(**fields, by=by, now=now)
    if ref := new.get("ref"):
        ids[ref] = task.task_id
    return task


def in_order(news: dict[int, dict[str, Any]]) -> list[int]:
    """Return the places of a batch so that each comes after those it waits for; raise Cycle."""
    refs = {new["ref"]: place for place, new in news.items() if new.get("ref")}
    if len(refs) < sum(1 for new in news.values() if new.get("ref")):
        raise Invalid("Each ref may be used once in a batch.", field="tasks")
    graph = {
        place: [refs[name] for name in new.get("depends_on", ()) if name in refs]
        for place, new in news.items()
    }
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError:
        raise Cycle(field="depends_on") from None
