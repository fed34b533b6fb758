"""What SQLite's planner is told of the tables, so that its plans are the same on every database.

Without statistics it takes the first index that fits, such as the one of all tasks of an agent for
the few that wait. Figures of a database that just began would be as wrong later. So these are
typical ones, of a large database. They take effect where a connection is opened.

Source: https://www.sqlite.org/queryplanner-ng.html, section 6.
"""

from typing import Any

from django.db import connections

# By table and index: how many rows, then how many of them have the same first column, the same
# first two, and so on.
TYPICAL = {
    "tasks_app_task": {
        "task_awaiting": "100 1",
        "task_breached": "10000 1",
        "task_by_agent": "1000000 200000 1",
        "task_by_creator": "1000000 20000 1",
        "task_by_failure": "20000 5000 1",
        "task_by_priority": "200000 60000 1",
        "task_by_source": "700000 100000 1",
        "task_by_status": "1000000 200000 1",
        "task_by_type": "1000000 100000 1",
        "task_children": "100000 5",
        "task_due": "500 2 2",
        "task_leases": "100 2",
        "task_of_approval": "100000 1",
        "task_of_trace": "1000000 3 1",
        "task_open_of_agent": "1000 300 150 1",
        "task_queue": "500 200 2 1",
        "task_scheduled": "100 50 2",
        "task_sla_warn": "500 2",
    },
    "events_app_event": {
        "event_by_origin": "300000 100000 1",
        "event_by_publisher": "3000000 60000 1",
        "event_by_type": "3000000 100000 1",
        "event_of_task": "3000000 4 1",
        "event_of_trace": "3000000 10 1",
        "sqlite_autoindex_events_app_event_2": "3000000 1",
    },
    "events_app_delivery": {
        "delivery_dead": "1000 1",
        "delivery_due": "100 20 2",
        "delivery_of_state": "100000 10000 5000 1",
        "delivery_position": "100000 2",
        "events_app_delivery_subscription_id_4f85aebe": "100000 10000",
        "sqlite_autoindex_events_app_delivery_1": "100000 10000 1",
    },
    "events_app_consumerdelivery": {"consumer_due": "1000 100 2", "consumer_event": "1000 100 1"},
    "approvals_app_approval": {
        "approval_asked": "100000 2000 1",
        "approval_decided": "100000 2 1",
        "approval_expiry": "100 2",
        "approval_inbox": "100 30 2",
        "approval_of_decider": "100000 5000 2 1",
        "approval_of_state": "100000 20000 2 1",
        "approval_of_requester": "100 10 10",
        "approval_of_role": "100 50 2 1",
        "approval_trace": "100000 2",
    },
}


def install(using: str = "default", **_: Any) -> None:
    """Write the typical figures in place of what is there; a handler of `post_migrate`."""
    connection = connections[using]
    if connection.vendor != "sqlite":
        return
    rows = [
        (table, index, stat)
        for table, indexes in TYPICAL.items()
        for index, stat in indexes.items()
    ]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE django_migrations")  # makes the table of statistics
        cursor.execute("DELETE FROM sqlite_stat1")
        cursor.executemany("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (%s, %s, %s)", rows)
        cursor.execute("ANALYZE sqlite_master")  # reads them
