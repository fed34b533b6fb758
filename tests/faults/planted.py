"""The service with a fault built in, to see that the fault runs have teeth.

    python -m tests.faults.planted no_attempt_check up

Each fault is a mistake that real systems of this kind have shipped.
"""

import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

FAULTS: dict[str, Callable[[], None]] = {}


def fault(plant: Callable[[], None]) -> Callable[[], None]:
    """Register a fault under the name of its function."""
    FAULTS[plant.__name__] = plant
    return plant


@fault
def no_attempt_check() -> None:
    """Take a report from whoever sends it, however late."""
    from tasks_app.services import lifecycle

    lifecycle.ensure_may_report = lambda task, **_: None


@fault
def rescue_by_id() -> None:
    """Take a task back as it was when it was read, without asking again whether its lease is still
    lost.
    """
    from events_app.services import change
    from orchestrator_site.core.actors import SYSTEM
    from tasks_app.models import FailureReason, Task
    from tasks_app.services import dependencies, leases, retries
    from tasks_app.services.transitions import LockedTasks

    def requeue_lost_leases(*, now: Any, limit: int = 1000) -> int:
        lost = list(Task.objects.lease_lost(now + timedelta(milliseconds=5)))
        time.sleep(0.02)  # time goes by between the reading and the writing
        for task in lost:
            with change():
                found = LockedTasks([task])
                retries.retry_later(
                    found,
                    task,
                    reason=FailureReason.LEASE_LOST,
                    error="",
                    by=SYSTEM,
                    now=now,
                    wait=timedelta(0),
                )
                dependencies.settle_dependents(found.save(), patient=True)
        return len(lost)

    leases.requeue_lost_leases = requeue_lost_leases


@fault
def claim_without_lock() -> None:
    """Read what is free, then take it: two claimers read the same."""
    from tasks_app.services import queues

    queues.CLAIM = queues.CLAIM.replace("{lock}", "")


@fault
def number_taken_early() -> None:
    """Number events when they are recorded, from a sequence: what commits late lies behind the
    readers.
    """
    from django.db import connection

    from events_app import services
    from events_app.log import writing
    from orchestrator_site.infra import changes

    new_event = services.new_event

    def numbered(**fact: Any) -> Any:
        event = new_event(**fact)
        with connection.cursor() as rows:
            rows.execute("SELECT nextval('events_app_event_id_seq')")
            event.position = rows.fetchone()[0]
        return event

    def write(events: list[Any], new: list[Any]) -> None:
        with connection.cursor() as rows:
            for row in [*new, *events]:
                writing.insert(type(row), [row])
            last = max(event.position for event in events)
            rows.execute("UPDATE events_app_ledger SET head = GREATEST(head, %s)", [last])

    services.new_event = numbered
    changes._writers[:] = [write]


@fault
def event_after_commit() -> None:
    """Write events when the change is committed already, a moment later."""
    from django.db import transaction

    from events_app import services as events
    from tasks_app.services import claims, intake, sla, transitions

    record_all = events.record_all

    def record_late(told: Any, *, wakes: Any = ()) -> None:
        def write() -> None:
            time.sleep(0.01)
            with events.change():
                record_all(told, wakes=wakes)

        transaction.on_commit(write)

    for module in (events, intake, claims, transitions, sla):
        module.record_all = record_late  # type: ignore[attr-defined]


@fault
def held_up_at_closing() -> None:
    """Be held up between the last connection that is taken and the close, as a busy machine may."""
    from orchestrator_site.server.runner import Server

    stop_listening = Server.stop_listening

    def held_up(self: Server, listener: Any) -> Any:
        with listener.dup():  # as long as this one is open, the kernel makes connections
            taken = stop_listening(self, listener)
            time.sleep(0.3)
        return taken

    Server.stop_listening = held_up  # type: ignore[method-assign]


def main() -> None:
    """Plant the fault that is named, then run manage.py with the rest of the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
    import django

    django.setup()
    FAULTS[sys.argv[1]]()
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", *sys.argv[2:]])


if __name__ == "__main__":
    main()
