"""Fill an empty database with many rows: `python -m tests.bench.inside fill TASKS`.

A few rows are made by the services, and the database multiplies those. What few rows match (`rare`)
is the oldest, so that a scan from the newest on is seen. The last line printed is JSON: names and
addresses to ask for.
"""

import json
import math
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
from django.db import connection, models, transaction
from django.db.models import F

from approvals_app.models import Approval
from events_app import rules
from events_app.consumers import services as consumers
from events_app.log import sequencing
from events_app.models import Delivery, Event, Ledger, Subscription
from events_app.services import publish
from events_app.webhooks import services as webhooks
from orchestrator_site.access.services import create_api_key
from orchestrator_site.core.actors import Actor, Assurance, Door, Role
from orchestrator_site.core.ids import first_id
from orchestrator_site.management.base import OPERATOR
from orchestrator_site.models import IdempotencyKey
from orchestrator_site.views.docs import openapi_document
from tasks_app.models import RoutingRule, Status, Task, TaskCount
from tasks_app.services import claims, intake, lifecycle
from tests.support.addresses import lists, reads
from tests.support.growth import multiply

STEPS = 20  # transactions that add tasks; the rows of one have the same time
EVENTS_EACH = 3
OPEN = 20  # tasks in each open state
RARE = 20
AGE = timedelta(days=90)
RARE_VALUES = {  # of parameters and filters: hardly any row has them
    "assigned_agent": "faq_agent",
    "created_by": "rare-maker",
    "failure_reason": "dependency",
    "overdue": "true",
    "parent_task_id": "{parent}",
    "priority": "P3",
    "source": "rare",
    "source_agent": "rare-source",
    "status": "pending",
    "task_id": "{task_id}",
    "trace_id": "trace_rare",
    "type": "documentation",
    "types": "rare.tick",
}
CHOICES = {"decider": "nobody", "family": "rare", "publisher": "rare-maker", "requester": "nobody"}
SEARCHES = ["{task_id}", "{event_id}", "trace_rare", "rare-maker", "rare.tick", "none"]
ENDS = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


def main(tasks: str) -> None:
    """Migrate and fill the database that the environment names."""
    number = int(tasks)
    call_command("migrate", verbosity=0)
    ensure_own()
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA synchronous = OFF")
            cursor.execute("PRAGMA cache_size = -400000")
    names = rare_rows()
    for done in many_rows(number):
        print(f"{done:>10,} of {number:,} tasks", file=sys.stderr, flush=True)
    names |= open_rows() | {"session": session()}
    if connection.vendor == "postgresql":  # as autovacuum will have done
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    print(json.dumps(addresses(names)))


def ensure_own() -> None:
    """End the program unless the database is empty: what is filled was made for it."""
    if Task.objects.exists() or Event.objects.exists():
        sys.exit("This database has tasks or events. Only an empty one is filled.")


def rare_rows() -> dict[str, str]:
    """Make the rows that rare filters match; return what to ask for."""
    now = datetime.now(UTC) - AGE
    parent = create(now, type="documentation")
    new: dict[str, Any] = {
        "source": "rare", "trace_id": "trace_rare", "parent_task_id": parent.task_id,
    }  # fmt: skip
    for number in range(RARE):
        task = intake.create_task(
            type="documentation", payload={"n": number}, priority="P3", now=now,
            by=agent("rare-maker"), **new,
        )  # fmt: skip
        lifecycle.report_status(
            task_id=task.task_id, by=agent("faq-1"), now=now, status=Status.COMPLETED
        )
        publish(
            event_type="rare.tick", source_agent="rare-source", payload={"n": number},
            by=agent("rare-maker"), now=now,
        )  # fmt: skip
        doomed = create(now, type="knowledge_sync")
        lifecycle.report_status(
            task_id=doomed.task_id,
            by=agent("faq-1"),
            now=now,
            status=Status.FAILED,
            retryable=False,
        )
        lifecycle.cancel_task(task_id=create(now, type="faq_update").task_id, by=OPERATOR, now=now)
    Task.objects.filter(type="knowledge_sync").update(failure_reason="dependency")
    return {"parent": parent.task_id, "task_id": task.task_id, "failed": doomed.task_id}


def agent(name: str) -> Actor:
    """Return an actor of role agent."""
    return Actor(name, Role.AGENT, Door.API, Assurance.PERSONAL, f"key:{name}")


def create(now: datetime, **new: Any) -> Task:
    """Hand in a task of the common sort."""
    rest = {"type": "bugfix", "payload": {"issue": "123", "text": "x" * 150}, "source": "ci"}
    return intake.create_task(**rest | new, by=agent("maker-0"), now=now)


def many_rows(number: int) -> Iterator[int]:
    """Add ended tasks and what belongs to them, a step at a time; yield how many there are.

    number: of tasks; three times as many events, a tenth as many approvals, deliveries and answers.
    However many there are, each step covers the same days, so that a list of the last week shows
    rows among few as well.
    """
    now = datetime.now(UTC) - AGE + timedelta(hours=1)
    rows = templates(now)
    sequencing.head()
    step = math.ceil(number / STEPS)
    for start in range(0, number, step):
        count = min(step, number - start)
        at = now + (AGE - timedelta(hours=3)) * (start / number)
        with transaction.atomic():
            add(rows, start, count, at)
        yield start + count
    for status, share in zip(ENDS, (48, 1, 1), strict=True):
        TaskCount.objects.filter(name=status).update(number=F("number") + number * share // 50)


def templates(now: datetime) -> dict[str, models.Model]:
    """Return a row of each kind to be multiplied."""
    task = create(now)
    create(now, priority="P0")
    receiver = webhooks.subscribe(
        url="https://example.com/hook", types=["bench.none"], format="json", description="bench",
        by=OPERATOR, now=now,
    )  # fmt: skip
    event = Event.objects.filter(task_id=task.task_id).earliest("pk")
    delivery = webhooks.new_delivery(receiver, event, now=now)
    delivery.position = event.position or 1
    delivery.status, delivery.settled_at = Delivery.Status.DELIVERED, now  # nothing left to send
    delivery.save()
    answer = IdempotencyKey.objects.create(
        principal="maker-0", key="k", operation="POST /tasks", body_hash="0" * 64,
        response="{}", created_at=now,
    )  # fmt: skip
    rows = (task, event, Approval.objects.earliest("pk"), Delivery.objects.get(), answer)
    return dict(zip(("task", "event", "approval", "delivery", "answer"), rows, strict=True))


def add(rows: dict[str, models.Model], start: int, count: int, at: datetime) -> None:
    """Add one step of every table. start: tasks added so far. at: when these were handed in."""
    n, when, head = f"({start} + n)", moment(at), Ledger.objects.get().head
    multiply(rows["task"], count, **task_columns(n, at))
    multiply(
        rows["event"], count * EVENTS_EACH, **event_columns(f"({start * EVENTS_EACH} + n)", at),
        position=f"{head} + n",
    )  # fmt: skip
    Ledger.objects.update(head=head + count * EVENTS_EACH)
    tenth, tenths = f"({start // 10} + n)", count // 10
    multiply(rows["approval"], tenths, **approval_columns(tenth, at))
    multiply(
        rows["delivery"], tenths, event_id=public_id("evt", tenth, at),
        position=tenth, status="'delivered'", created_at=when, settled_at=when,
    )  # fmt: skip
    key = f"'k' || {n}"
    multiply(rows["answer"], tenths, id=answer_id(n), key=key, created_at=when)


def task_columns(n: str, at: datetime) -> dict[str, str]:
    """Return SQL for the columns of the task with number `n`."""
    when = moment(at)
    ended = f"CASE {n} % 50 WHEN 7 THEN 'failed' WHEN 9 THEN 'cancelled' ELSE 'completed' END"
    parent, approval = public_id("task", f"({n} - 3)", at), public_id("approval", f"({n} / 10)", at)
    kinds = "WHEN 1 THEN 'feature' WHEN 2 THEN 'deployment' WHEN 3 THEN 'monitoring'"
    return {
        "task_id": public_id("task", n, at),
        "trace_id": f"'trace_' || {n}",
        "status": ended,
        "type": f"CASE {n} % 4 {kinds} ELSE 'bugfix' END",
        "assigned_agent": f"CASE WHEN {n} % 4 > 1 THEN 'ops_agent' ELSE 'dev_agent' END",
        "priority": f"CASE WHEN {n} % 10 = 0 THEN 'P1' ELSE 'P2' END",
        "created_by": f"'maker-' || ({n} % 50)",
        "source": f"CASE {n} % 3 WHEN 0 THEN '' WHEN 1 THEN 'web' ELSE 'ci' END",
        "failure_reason": f"CASE WHEN {n} % 50 = 7 THEN 'reported' ELSE '' END",
        "parent_task_id": f"CASE {n} % 10 WHEN 3 THEN {parent} ELSE '' END",
        "approval_id": f"CASE {n} % 10 WHEN 5 THEN {approval} ELSE '' END",
        "created_at": when,
        "turn_at": when,
        "assigned_at": when,
        "completed_at": f"CASE WHEN {ended} = 'completed' THEN {when} END",
        "failed_at": f"CASE WHEN {ended} = 'failed' THEN {when} END",
        "cancelled_at": f"CASE WHEN {ended} = 'cancelled' THEN {when} END",
    }


def event_columns(n: str, at: datetime) -> dict[str, str]:
    """Return SQL for the columns of the event with number `n`."""
    kinds = "WHEN 1 THEN 'task.claimed' WHEN 2 THEN 'task.completed'"
    return {
        "event_id": public_id("evt", n, at),
        "event_type": f"CASE {n} % 3 {kinds} ELSE 'task.created' END",
        "task_id": public_id("task", f"({n} / 3)", at),
        "trace_id": f"'trace_' || ({n} / 3)",
        "publisher": f"'maker-' || ({n} % 50)",
        "source_agent": f"'maker-' || ({n} % 50)",
        "created_at": moment(at),
    }


def approval_columns(n: str, at: datetime) -> dict[str, str]:
    """Return SQL for the columns of the decided request with number `n`."""
    return {
        "approval_id": public_id("approval", n, at),
        "task_id": public_id("task", f"({n} * 10)", at),
        "trace_id": f"'trace_' || ({n} * 10)",
        "status": f"CASE {n} % 9 WHEN 0 THEN 'rejected' ELSE 'approved' END",
        "requested_by": f"'maker-' || ({n} % 50)",
        "decided_by": f"'dana-' || ({n} % 2)",
        "created_at": moment(at),
        "decided_at": moment(at),
    }


def moment(at: datetime) -> str:
    """Return SQL for a time."""
    text = f"'{at:%Y-%m-%d %H:%M:%S.%f}'"
    return f"(TIMESTAMP WITH TIME ZONE {text})" if connection.vendor == "postgresql" else text


def public_id(prefix: str, n: str, at: datetime) -> str:
    """Return SQL for the id of the row with number `n`: ids sort by time, then by number."""
    return f"'{first_id(prefix, at)[:-14]}' || CAST(10000000000000 + {n} AS TEXT)"


def answer_id(n: str) -> str:
    """Return SQL for the UUID of an answer."""
    digits = f"CAST(1000000000000 + {n} AS TEXT)"
    if connection.vendor == "postgresql":
        return f"('0000000000000000000' || {digits})::uuid"
    return f"'0000000000000000000' || {digits}"


def open_rows() -> dict[str, str]:
    """Make the open tasks and what waits for a person; return what to ask for."""
    now = datetime.now(UTC)
    for _ in range(OPEN):
        create(now, sla_target=86_400)
        create(now - timedelta(hours=2), sla_target=60)
        waiting = create(now, priority="P0")
        needed = create(now)
        create(now, depends_on=[needed.task_id])
    claims.claim(agent="dev_agent", by=agent("dev-1"), now=now, limit=OPEN, lease_seconds=86_400)
    RoutingRule.objects.filter(task_type="refactor").update(agent="dev_agent")
    head = sequencing.head()
    Subscription.objects.update(position=head)
    setting = {"types": ["rare.tick"], "ack_seconds": 60, "max_deliveries": 5}
    for name, start in (("late", 0), ("current", head)):
        consumers.create(name=name, start=start, **setting, by=agent("bench"), now=now)
    return {
        "approval_id": Approval.objects.get(task_id=waiting.task_id).approval_id,
        "subscription_id": Subscription.objects.get().subscription_id,
    }


def session() -> str:
    """Make keys and the console account `bench`; return the key of its session."""
    for number in range(RARE):
        create_api_key(name=f"key-{number}", role="agent", by=OPERATOR, now=datetime.now(UTC))
    user = User.objects.create_superuser("bench", password=None)
    row = SessionStore()
    backend = "orchestrator_site.auth.accounts.AccountBackend"
    row[SESSION_KEY], row[BACKEND_SESSION_KEY] = str(user.pk), backend
    row[HASH_SESSION_KEY] = user.get_session_auth_hash()
    row.save()
    return str(row.session_key)


def addresses(names: dict[str, str]) -> dict[str, Any]:
    """Return what to ask for, and every address; in braces are names of this database."""
    event = Event.objects.filter(task_id=names["task_id"]).latest("pk")
    own = {  # pages of one row
        "events_app.event": "{event_id}",
        "events_app.subscription": "{subscription_id}",
        "tasks_app.task": "{task_id}",
        "approvals_app.approval": "{approval_id}",
    }
    pages = [f"/admin/{name.replace('.', '/')}/{public}/change/" for name, public in own.items()]
    return names | {
        "name": "late",
        "event_id": event.event_id,
        "middle": rules.cursor(sequencing.head() // 2),
        "reads": list(reads(json.loads(openapi_document()), RARE_VALUES)),
        "pages": ["/admin/", *pages, *lists(SEARCHES, CHOICES)],
    }
