"""How many tasks stand where, at a cost that does not grow with the table."""

from collections import Counter
from collections.abc import Iterable, Sequence

from events_app.models import Event
from orchestrator_site.infra.changes import here
from tasks_app.event_types import SLA_VIOLATION, SLA_WARNING
from tasks_app.models import Status, TaskCount

SLA_EVENTS = {SLA_WARNING: "sla_warnings", SLA_VIOLATION: "sla_violations"}
COUNTS = f"SELECT name, number FROM {TaskCount._meta.db_table}"  # noqa: S608 - our own name
NAMES = [status.value for status in Status] + list(SLA_EVENTS.values())


def count_moves(events: Iterable[Event]) -> Counter[str]:
    """Return how the events change the counts."""
    changes: Counter[str] = Counter()
    for event in events:
        if event.moved_to != event.moved_from:
            changes[event.moved_from] -= 1
            changes[event.moved_to] += 1
        if event.event_type in SLA_EVENTS:
            changes[SLA_EVENTS[event.event_type]] += 1
        if event.pruned:
            changes.subtract(event.pruned)
    del changes[""]
    return changes


def counts() -> dict[str, int]:
    """Return the number of tasks in each status, and of SLA warnings and violations so far."""
    return dict.fromkeys(NAMES, 0) | dict(here.database.run(COUNTS))


def counts_for(readers: Sequence[object]) -> list[dict[str, int]]:
    """Return `counts`, read once for all who want them."""
    return [counts()] * len(readers)


def queue_stats(counted: dict[str, int] | None = None) -> dict[str, int]:
    """Return the guide's three figures."""
    now = counts() if counted is None else counted
    return {
        "pending_tasks": now[Status.PENDING] + now[Status.ASSIGNED],
        "processing_tasks": now[Status.IN_PROGRESS],
        "total_tasks": sum(now[status] for status in Status),
    }
