"""Time what beat and operators run: `python -m tests.bench.inside sweeps ROUNDS`.

What a step removes is put back. The last line printed is JSON: seconds of each run, by name.
"""

import contextlib
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import transaction

from approvals_app.services import transitions
from events_app.log import retention as log_retention
from events_app.webhooks import fan_out, sender
from orchestrator_site.api import idempotency
from orchestrator_site.core import times
from orchestrator_site.management.base import OPERATOR
from tasks_app.services import agents, dependencies, leases, retention, routing, sla

LONG_AGO = timedelta(days=3650)
OLD = timedelta(days=89)


class Enough(Exception):
    """One step was made."""


def one_step(_: int) -> None:
    """End a prune after its first step."""
    raise Enough


def prune_tasks() -> None:
    """Remove one step of tasks."""
    now = times.now()
    retention.prune_tasks(before=now - OLD, by=OPERATOR, now=now, between=one_step)


SWEEPS: dict[str, Callable[[], Any]] = {
    "route_pending": lambda: routing.route_pending(now=times.now()),
    "check_slas": lambda: sla.check_slas(now=times.now()),
    "requeue_lost_leases": lambda: leases.requeue_lost_leases(now=times.now()),
    "notice_silence": lambda: agents.mark_stale_agents(now=times.now()),
    "settle_dependents": lambda: dependencies.settle_waiting(clock=times.now),
    "expire_approvals": lambda: transitions.expire_approvals(now=times.now()),
    "deliver_webhooks": lambda: sender.deliver(clock=times.now),
    "forget_deliveries": lambda: fan_out.forget(now=times.now()),
    "prune_answers": lambda: idempotency.prune_answers(now=times.now()),
    "prune_events": lambda: log_retention.prune(older_than=LONG_AGO, now=times.now()),
    "prune tasks, one step": prune_tasks,
}


def main(rounds: str) -> None:
    """Run every sweep so many times, and once before to warm up."""
    taken = {
        name: [timed(sweep) for _ in range(int(rounds) + 1)][1:] for name, sweep in SWEEPS.items()
    }
    print(json.dumps(taken))


def timed(sweep: Callable[[], Any]) -> float:
    """Return the seconds that a sweep takes; what it changes is put back."""
    began = time.perf_counter()
    with transaction.atomic():
        with contextlib.suppress(Enough):
            sweep()
        taken = time.perf_counter() - began
        transaction.set_rollback(True)
    return taken
