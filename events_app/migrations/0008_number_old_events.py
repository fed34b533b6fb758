"""Give the events that an older version has not numbered yet their places, as it would have.

In batches, each a transaction under the lock that the older version takes too: it may go on
writing and numbering meanwhile.
"""

from collections import Counter
from typing import Any

from django.db import migrations, transaction

BATCH = 1000
LOCK = "UPDATE events_app_ledger SET head = head RETURNING head"
NUMBER = """
    UPDATE events_app_event AS event SET position = place.position FROM (
        SELECT id, %s + row_number() OVER (ORDER BY id) AS position
        FROM events_app_event WHERE position IS NULL ORDER BY id LIMIT %s
    ) AS place WHERE event.id = place.id
    RETURNING event_type, moved_from, moved_to
"""
ADVANCE = "UPDATE events_app_ledger SET head = head + %s"
COUNT = "UPDATE tasks_app_taskcount SET number = number + %s WHERE name = %s"
SLA_EVENTS = {"sla.warning": "sla_warnings", "sla.violation": "sla_violations"}


def number_events(apps: Any, schema_editor: Any) -> None:
    while number_batch(schema_editor.connection) == BATCH:
        pass


def number_batch(connection: Any) -> int:
    """Number and count one batch; return its size."""
    with transaction.atomic(using=connection.alias), connection.cursor() as rows:
        rows.execute(LOCK)
        rows.execute(NUMBER, [rows.fetchone()[0], BATCH])
        events = rows.fetchall()
        changes: Counter[str] = Counter()
        for event_type, moved_from, moved_to in events:
            changes[moved_from] -= 1
            changes[moved_to] += 1
            changes[SLA_EVENTS.get(event_type, "")] += 1
        del changes[""]
        for name in sorted(changes):
            rows.execute(COUNT, [changes[name], name])
        rows.execute(ADVANCE, [len(events)])
    return len(events)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("events_app", "0007_by_type_and_publisher")]
    operations = [migrations.RunPython(number_events, migrations.RunPython.noop)]
