"""Many tasks at once: all or none, or each for itself."""

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from events_app.services import change
from orchestrator_site.core.errors import DomainError, Invalid
from tasks_app.errors import Cycle
from tasks_app.models import Task
from tasks_app.services import intake
from tasks_app.services.intake import NewTask


class Batch(NamedTuple):
    """Tasks to create together. news: each of them, or why it was refused before."""

    news: Sequence[NewTask | DomainError]
    all_or_none: bool

    @property
    def weight(self) -> int:
        """Return for how many tasks it counts among those that arrive with it."""
        return len(self.news)


def create_batches(batches: Sequence[Batch]) -> list[list[Task | DomainError] | DomainError]:
    """Create what batches ask for.

    Return for each batch its tasks and refusals in the order given, or why there are none: Cycle,
    or Invalid where all or none were wanted or a `ref` comes twice.
    """
    if len(batches) == 1:
        return [outcomes_of(batches[0])]
    with change():
        return [outcomes_of(batch) for batch in batches]


def outcomes_of(batch: Batch) -> list[Task | DomainError] | DomainError:
    """Create what one batch asks for; what it cannot have whole is undone."""
    try:
        with change():
            outcomes = created(batch.news)
            for place, outcome in enumerate(outcomes):
                if batch.all_or_none and isinstance(outcome, DomainError):
                    sentence = f"Task {place} of the batch: {outcome}"
                    raise Invalid(sentence, field=f"tasks.{place}")
            return outcomes
    except DomainError as refusal:
        return refusal


def created(news: Sequence[NewTask | DomainError]) -> list[Task | DomainError]:
    """Return what became of each task; those that others wait for come first."""
    outcomes: dict[int, Task | DomainError] = {}
    waiting: dict[int, NewTask] = {}
    for place, new in enumerate(news):
        if isinstance(new, NewTask):
            waiting[place] = new
        else:
            outcomes[place] = new
    ids: dict[str, str] = {}
    steps = list(in_steps({place: new.fields for place, new in waiting.items()}))
    create = intake.create_all if len(steps) > 1 else intake.taken_in
    for places in steps:
        step = [without_refs(waiting[place], ids) for place in places]
        for place, outcome in zip(places, create(step), strict=True):
            outcomes[place] = outcome
            ref = waiting[place].fields.get("ref")
            if ref and isinstance(outcome, Task):
                ids[ref] = outcome.task_id
    return [outcomes[place] for place in range(len(news))]


def without_refs(new: NewTask, ids: Mapping[str, str]) -> NewTask:
    """Return a task of a batch without its `ref`. ids: the task ids of the `ref`s so far."""
    fields = {name: value for name, value in new.fields.items() if name != "ref"}
    if needed := fields.get("depends_on"):
        fields["depends_on"] = [ids.get(name, name) for name in needed]
    return new._replace(fields=fields)


def in_steps(news: Mapping[int, Mapping[str, Any]]) -> Iterator[list[int]]:
    """Yield the places of a batch in steps, each after those that it waits for; raise Cycle.

    news: the fields of each task, by its place.
    """
    refs = {new["ref"]: place for place, new in news.items() if new.get("ref")}
    if len(refs) < sum(1 for new in news.values() if new.get("ref")):
        raise Invalid("Each ref may be used once in a batch.", field="tasks")
    waits = {
        place: [refs[name] for name in new.get("depends_on", ()) if name in refs]
        for place, new in news.items()
    }
    if not any(waits.values()):
        yield list(news)
        return
    sorter = TopologicalSorter(waits)
    try:
        sorter.prepare()
    except CycleError:
        raise Cycle(field="depends_on") from None
    while places := sorted(sorter.get_ready()):
        yield places
        sorter.done(*places)
