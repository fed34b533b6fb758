"""Tasks: their fields, the transitions of their status, and the rows that queries name."""

from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import Q, TextChoices

from orchestrator_site.core.actors import Actor
from orchestrator_site.core.ids import new_id
from orchestrator_site.core.priorities import Priority
from orchestrator_site.infra.narrowing import by_fewest
from tasks_app.errors import InvalidTransition, UnknownTask


def new_task_id() -> str:
    """Return a new public id, `task_…`."""
    return new_id("task")


def credential_field() -> "models.CharField[str, str]":
    """Return a column for the credential of whoever did something, as `Actor.credential` has it.

    Tokens may name anybody: who is behind the name is told by the key that signed for it.
    """
    return models.CharField(max_length=160, blank=True, default="", db_default="", editable=False)


class Status(TextChoices):
    """The status of a task; `NEXT` has the transitions."""

    PENDING = "pending"
    ASSIGNED = "assigned"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (Status.PENDING, Status.ASSIGNED, Status.IN_PROGRESS)


NEXT = {
    Status.PENDING: {Status.ASSIGNED, Status.FAILED, Status.CANCELLED},
    Status.ASSIGNED: {
        Status.PENDING,
        Status.IN_PROGRESS,
        Status.COMPLETED,
        Status.FAILED,
        Status.CANCELLED,
    },
    Status.IN_PROGRESS: {Status.ASSIGNED, Status.COMPLETED, Status.FAILED, Status.CANCELLED},
    Status.FAILED: {Status.ASSIGNED},  # an operator requeues it
}


STAMP = {
    Status.ASSIGNED: "assigned_at",
    Status.IN_PROGRESS: "started_at",
    Status.COMPLETED: "completed_at",
    Status.FAILED: "failed_at",
    Status.CANCELLED: "cancelled_at",
}


class FailureReason(TextChoices):
    """Why a task failed for good."""

    REPORTED = "reported", "reported by its agent"
    RETRIES_EXHAUSTED = "retries_exhausted", "failed on every attempt"
    LEASE_LOST = "lease_lost", "its agents vanished on every attempt"
    DEPENDENCY = "dependency", "a task it depends on failed"


class IsOpen(models.Func):
    """Whether a status is open, with the statuses written out instead of as parameters."""

    template = "%(expressions)s IN ('pending', 'assigned', 'in_progress')"
    output_field = models.BooleanField()


# What the partial indexes leave out: the value that most rows have.
PARTIAL = {
    "source": "",
    "trace_id": "",
    "parent_task_id": "",
    "failure_reason": "",
    "priority": "P2",
}


class TaskQuerySet(models.QuerySet["Task"]):
    """Tasks by their status, their queue and their deadlines."""

    def find(self, task_id: str) -> "Task | None":
        """Return the task, or None. (`first` would order: a sixth of the cost of reading it.)"""
        return next(iter(self.filter(task_id=task_id)), None)

    def get_or_refuse(self, task_id: str, *, lock: bool = False) -> "Task":
        """Return the task; raise UnknownTask. lock: its row, until the transaction ends."""
        task = (self.select_for_update() if lock else self).find(task_id)
        if task is None:
            raise UnknownTask(task_id)
        return task

    def open(self) -> "TaskQuerySet":
        """Return those that are not over, as the indexes say it: SQLite compares the text."""
        return self.filter(IsOpen("status"))

    def of(self, **equal: Any) -> "TaskQuerySet":
        """Return those whose fields have these values, found by the value that fewest have."""
        rows: TaskQuerySet = self.all()
        for name, value in equal.items():
            rows = rows.having(name, value)
        return by_fewest(rows, [[self.having(name, value)] for name, value in equal.items()])

    def having(self, name: str, value: Any) -> "TaskQuerySet":
        """Return those with a value; where the index is partial, with its condition too."""
        rows, column = self.filter(**{name: value}), name.removesuffix("__in")
        left_out = PARTIAL.get(column, value)
        return rows if left_out == value else rows.filter(~Q(**{column: left_out}))

    def to_warn(self, now: datetime) -> "TaskQuerySet":
        """Return open ones whose SLA warning is due and not given."""
        return self.open().filter(sla_warned_at__isnull=True, warn_at__lte=now)

    def to_breach(self, now: datetime) -> "TaskQuerySet":
        """Return open ones past their deadline, not yet recorded."""
        return self.open().filter(sla_breached_at__isnull=True, due_at__lte=now)

    def overdue(self, now: datetime) -> "TaskQuerySet":
        """Return open ones past their deadline."""
        return self.open().filter(due_at__lte=now)

    def on_time(self, now: datetime) -> "TaskQuerySet":
        """Return the others: over, without a deadline, or before it."""
        return self.exclude(status__in=OPEN, due_at__isnull=False, due_at__lte=now)

    def queued(self, agent: str) -> "TaskQuerySet":
        """Return those in an agent's queue, now or on schedule."""
        return self.filter(
            status=Status.ASSIGNED,
            assigned_agent=agent,
            awaiting_approval=False,
            open_dependencies=0,
        )

    def takeable(self, agent: str, now: datetime) -> "TaskQuerySet":
        """Return those an agent could be handed now, were nothing paused."""
        return self.queued(agent).filter(Q(not_before__isnull=True) | Q(not_before__lte=now))

    def lease_lost(self, now: datetime) -> "TaskQuerySet":
        """Return running ones whose lease has run out."""
        return self.filter(status=Status.IN_PROGRESS, lease_expires_at__lte=now)


FREE = Q(status="assigned", awaiting_approval=False, open_dependencies=0)


IS_OPEN = Q(status__in=["pending", "assigned", "in_progress"])


class Task(models.Model):
    """One piece of work for an agent, with its status, its lease and its deadline."""

    task_id = models.CharField(max_length=40, unique=True, default=new_task_id, editable=False)
    type = models.CharField(max_length=64)
    payload = models.JSONField()
    priority = models.CharField(max_length=2, choices=Priority.choices, default=Priority.P2)
    status = models.CharField(max_length=12, choices=Status.choices)
    assigned_agent = models.CharField(max_length=64, blank=True, default="")
    source = models.CharField(max_length=100, blank=True, default="")
    metadata = models.JSONField(default=dict)
    trace_id = models.CharField(max_length=128, blank=True, default="")
    parent_task_id = models.CharField(max_length=64, blank=True, default="")
    created_by = models.CharField(max_length=128)
    creator_credential = credential_field()
    door = models.CharField(max_length=16)
    reported_by = models.CharField(
        max_length=128, blank=True, default="", help_text="Who caused the present status."
    )
    reporter_credential = credential_field()
    error = models.TextField(blank=True, default="")
    result = models.JSONField(null=True, blank=True)
    failure_reason = models.CharField(
        max_length=20, choices=FailureReason.choices, blank=True, default=""
    )

    created_at = models.DateTimeField()
    assigned_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    cancelled_at = models.DateTimeField(null=True, blank=True)

    sla_target = models.PositiveIntegerField(
        null=True, blank=True, help_text="Seconds from creation."
    )
    due_at = models.DateTimeField(null=True, blank=True)
    warn_at = models.DateTimeField(null=True, blank=True)
    sla_warned_at = models.DateTimeField(null=True, blank=True)
    sla_breached_at = models.DateTimeField(null=True, blank=True)

    approval_id = models.CharField(max_length=40, blank=True, default="")
    awaiting_approval = models.BooleanField(
        default=False, help_text="A hint for the queue; the gate asks the approval."
    )

    turn_at = models.DateTimeField(
        help_text="The queue's order: ready time plus what its priority must wait."
    )
    not_before = models.DateTimeField(null=True, blank=True)
    open_dependencies = models.PositiveIntegerField(default=0)
    on_dependency_failure = models.CharField(
        max_length=4, choices=[("fail", "fail too"), ("free", "run anyway")], default="fail"
    )
    holder = models.CharField(max_length=128, blank=True, default="")
    holder_credential = credential_field()
    attempt = models.PositiveIntegerField(
        default=0, help_text="How many leases were given; the fencing token."
    )
    attempts_spent = models.PositiveIntegerField(
        default=0, help_text="Attempts before the last requeue by hand."
    )
    max_attempts = models.PositiveIntegerField(default=3)
    lease_seconds = models.PositiveIntegerField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    progress = models.PositiveSmallIntegerField(null=True, blank=True)
    note = models.CharField(max_length=500, blank=True, default="")

    unread: int  # put beside by `console.large_values`
    bytes: int  # put beside by a query that reads it

    objects = TaskQuerySet.as_manager()
    LEASE = ("holder", "holder_credential", "lease_expires_at")

    class Meta:
        permissions = [("operate_task", "Can cancel, requeue and reassign tasks")]
        indexes = [
            models.Index(
                fields=["assigned_agent", "turn_at", "id"], condition=FREE, name="task_queue"
            ),
            models.Index(
                fields=["assigned_agent", "not_before"],
                condition=FREE & Q(not_before__isnull=False),
                name="task_scheduled",
            ),
            models.Index(
                fields=["assigned_agent", "status", "id"],
                condition=IS_OPEN,
                name="task_open_of_agent",
            ),
            models.Index(fields=["status", "id"], name="task_by_status"),
            models.Index(
                fields=["trace_id", "id"], condition=~Q(trace_id=""), name="task_of_trace"
            ),
            models.Index(fields=["created_by", "id"], name="task_by_creator"),
            models.Index(
                fields=["parent_task_id"], condition=~Q(parent_task_id=""), name="task_children"
            ),
            models.Index(
                fields=["warn_at"],
                condition=IS_OPEN & Q(sla_warned_at__isnull=True, warn_at__isnull=False),
                name="task_sla_warn",
            ),
            models.Index(
                fields=["due_at", "sla_breached_at"],
                condition=IS_OPEN & Q(due_at__isnull=False),
                name="task_due",
            ),
            models.Index(
                fields=["approval_id"], condition=~Q(approval_id=""), name="task_of_approval"
            ),
            models.Index(
                fields=["id"], condition=Q(sla_breached_at__isnull=False), name="task_breached"
            ),
            models.Index(fields=["id"], condition=Q(awaiting_approval=True), name="task_awaiting"),
            models.Index(fields=["type", "id"], name="task_by_type"),
            models.Index(fields=["assigned_agent", "id"], name="task_by_agent"),
            models.Index(fields=["source", "id"], condition=~Q(source=""), name="task_by_source"),
            models.Index(
                fields=["priority", "id"], condition=~Q(priority="P2"), name="task_by_priority"
            ),
            models.Index(
                fields=["failure_reason", "id"],
                condition=~Q(failure_reason=""),
                name="task_by_failure",
            ),
            models.Index(
                fields=["lease_expires_at"],
                condition=Q(status="in_progress", lease_expires_at__isnull=False),
                name="task_leases",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task_id} ({self.type}, {self.status})"

    def move_to(self, status: Status, *, now: datetime) -> tuple[str, str]:
        """Take the next status and its timestamp; return the one left and the one taken.

        Raise InvalidTransition.
        """
        left = Status(self.status)
        if status not in NEXT.get(left, ()):
            raise InvalidTransition(
                f"{self.task_id} is {left.value}; it cannot become {status.value}.",
                task_id=self.task_id,
                status=left.value,
            )
        self.status = status
        if status in STAMP:
            setattr(self, STAMP[status], now)
        return left.value, status.value

    def content(self) -> dict[str, Any]:
        """Return what a decision is bound to: change one byte of it and the sign-off is void.

        Not `not_before`: a retry moves it, and the sign-off is for what is done, not for when.
        """
        return {
            name: getattr(self, name)
            for name in (
                "task_id",
                "type",
                "payload",
                "priority",
                "assigned_agent",
                "source",
                "created_by",
                "metadata",
                "sla_target",
                "parent_task_id",
                "max_attempts",
            )
        }

    @property
    def cancelled(self) -> bool:
        """Return whether the task was cancelled."""
        return self.status == Status.CANCELLED

    @property
    def sla_state(self) -> str:
        """Return `none`, `on_track`, `warning`, `violated`, `met`, or `closed`: not completed."""
        if self.due_at is None:
            return "none"
        if self.sla_breached_at:
            return "violated"
        if self.status == Status.COMPLETED:
            return "met"
        if self.status in (Status.FAILED, Status.CANCELLED):
            return "closed"
        return "warning" if self.sla_warned_at else "on_track"

    def end_lease(self) -> None:
        """Clear who holds the task, and until when."""
        self.holder, self.holder_credential, self.lease_expires_at = "", "", None

    def report_by(self, by: Actor) -> None:
        """Note who causes the status that the task takes."""
        self.reported_by, self.reporter_credential = by.name, by.credential

    def queue_again(self, *, ready_at: datetime, wait: timedelta) -> None:
        """Take a new turn in the queue, without a holder. wait: what the priority must wait."""
        self.turn_at = ready_at + wait
        self.end_lease()
        self.progress = None
        self.note = ""
