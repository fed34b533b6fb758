"""What each index costs a create: `python -m tests.bench.inside indexes ROUNDS`, after `fill`.

Blocks of creates with and without an index take turns. What is compared is processor time, of this
process and of PostgreSQL's, because that of the disk says little on a busy machine. The database is
one that was made for this by `fill`.
"""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

from django.db import connection, models

from approvals_app.models import Approval
from events_app.models import Event
from tasks_app.models import Task
from tests.bench.fill import create

BLOCK = 100  # creates
ESSENTIAL = {"task_queue", "task_due", "task_sla_warn", "task_leases", "task_scheduled"}
ESSENTIAL |= {"task_open_of_agent", "event_of_task"}


def main(rounds: str) -> None:
    """Print a row for each index that the work loop does not need. rounds: pairs of blocks."""
    blocks = int(rounds)
    for model in (Task, Event, Approval):
        for index in model._meta.indexes:
            if index.name not in ESSENTIAL:
                with_it, without = compared(model, index, blocks)
                print(
                    f"{index.name:22} {with_it:6.3f} ms with, {without:6.3f} ms without   "
                    f"× {with_it / without:.3f}   N={blocks * BLOCK}",
                    flush=True,
                )


def compared(model: type[models.Model], index: models.Index, blocks: int) -> tuple[float, float]:
    """Return the milliseconds of a create with an index and without on average."""
    present, absent = [], []
    for _ in range(blocks):
        present.append(block())
        with connection.schema_editor() as editor:
            editor.remove_index(model, index)
        absent.append(block())
        with connection.schema_editor() as editor:
            editor.add_index(model, index)
    return sum(present) / blocks, sum(absent) / blocks


def block() -> float:
    """Create tasks with a trace and a deadline; return the milliseconds of one."""
    now, began = datetime.now(UTC), processor_seconds()
    for number in range(BLOCK):
        create(now, trace_id=f"t{number}", sla_target=3600)
    return (processor_seconds() - began) / BLOCK * 1000


def processor_seconds() -> float:
    """Return the processor time of this process and of the server's process for it."""
    seconds = time.process_time()
    if connection.vendor == "postgresql":
        connection.ensure_connection()
        fields = Path(f"/proc/{connection.connection.info.backend_pid}/stat").read_text().split()
        seconds += (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return seconds
