"""Many tasks at once: all or none, or each for itself."""

from collections.abc import Iterator
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from typing import Any, cast

from events_app.services import change
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import DomainError, Invalid
from tasks_app.errors import Cycle
from tasks_app.models import Task
from tasks_app.services import intake


@change
def create_all(news: list[dict[str, Any]], *, by: Actor, now: datetime) -> list[Task]:
    """Create all of the tasks or, if one cannot be, none; return them in the order given."""
    outcomes = created(dict(enumerate(news)), by=by, now=now)
    for place, outcome in outcomes.items():
        if isinstance(outcome, DomainError):
            raise Invalid(f"Task {place} of the batch: {outcome}", field=f"tasks.{place}")
    return [cast(Task, outcomes[place]) for place in range(len(news))]


@change
def create_each(
    news: list[dict[str, Any] | DomainError], *, by: Actor, now: datetime
) -> list[Task | DomainError]:
    """Create what can be created; return a task or the refusal in each place.

    news: the fields of each task, or why it was refused before.
    """
    valid = {place: new for place, new in enumerate(news) if not isinstance(new, DomainError)}
    outcomes = created(valid, by=by, now=now)
    return [outcomes[place] if place in valid else new for place, new in enumerate(news)]  # type: ignore[misc]


def created(
    news: dict[int, dict[str, Any]], *, by: Actor, now: datetime
) -> dict[int, Task | DomainError]:
    """Return what became of each task, by its place; those that others wait for come first."""
    outcomes: dict[int, Task | DomainError] = {}
    ids: dict[str, str] = {}
    for places in in_steps(news):
        step = [intake.NewTask(without_refs(news[place], ids), by, now) for place in places]
        for place, outcome in zip(places, intake.create_all(step), strict=True):
            outcomes[place] = outcome
            ref = news[place].get("ref")
            if ref and isinstance(outcome, Task):
                ids[ref] = outcome.task_id
    return outcomes


def without_refs(new: dict[str, Any], ids: dict[str, str]) -> dict[str, Any]:
    """Return the fields of a task of a batch. ids: the task ids of the `ref`s so far."""
    fields = {name: value for name, value in new.items() if name != "ref"}
    if needed := fields.get("depends_on"):
        fields["depends_on"] = [ids.get(name, name) for name in needed]
    return fields


def in_steps(news: dict[int, dict[str, Any]]) -> Iterator[list[int]]:
    """Yield the places of a batch in steps, each after those that it waits for; raise Cycle."""
    refs = {new["ref"]: place for place, new in news.items() if new.get("ref")}
    if len(refs) < sum(1 for new in news.values() if new.get("ref")):
        raise Invalid("Each ref may be used once in a batch.", field="tasks")
    sorter = TopologicalSorter(
        {
            place: [refs[name] for name in new.get("depends_on", ()) if name in refs]
            for place, new in news.items()
        }
    )
    try:
        sorter.prepare()
    except CycleError:
        raise Cycle(field="depends_on") from None
    while places := sorted(sorter.get_ready()):
        yield places
        sorter.done(*places)
