"""Requests for sign-off, and the policies that ask for them."""

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q, TextChoices

from orchestrator_site.core.actors import Actor, Role
from orchestrator_site.core.ids import new_id
from orchestrator_site.core.priorities import Priority


def new_approval_id() -> str:
    """Return a new public id, `approval_…`."""
    return new_id("approval")


class Status(TextChoices):
    """The life of a request: pending, then one of the others for good."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"


class ApprovalQuerySet(models.QuerySet["Approval"]):
    """Which requests."""

    def pending(self) -> "ApprovalQuerySet":
        return self.filter(status=Status.PENDING)

    def decided(self) -> "ApprovalQuerySet":
        return self.filter(decided_at__isnull=False)

    def live(self, now: datetime) -> "ApprovalQuerySet":
        return self.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now))

    def decidable_by(self, by: Actor, *, mode: str) -> "ApprovalQuerySet":
        """Return those this actor's role may decide; outside `guide` without their own requests.

        For counts and lists: whether one may be decided is asked of `rules.ensure_may_decide`.
        """
        rows = self.filter(decider_role__in=[role.value for role in Role if by.role.covers(role)])
        return rows if mode == "guide" else rows.exclude(requested_by=by.name)

    def inbox(self, now: datetime) -> "ApprovalQuerySet":
        """Return what waits for a decision, most urgent first, without the contents."""
        return self.pending().live(now).order_by("priority", "created_at", "pk").defer("snapshot")

    def pending_of(self, requester: str, *, most: int) -> int:
        """Return how many requests of a principal wait, counted no further than `most`."""
        return len(self.pending().filter(requested_by=requester).values_list("pk")[:most])

    def run_out(self, now: datetime) -> "ApprovalQuerySet":
        return self.pending().filter(expires_at__lte=now)


# Said without a value, so that SQLite matches the indexes to the queries.
DECIDED = Q(decided_at__isnull=False)


class Approval(models.Model):
    """A request for sign-off: what was asked, on exactly which content, and the one decision."""

    approval_id = models.CharField(
        max_length=40, unique=True, default=new_approval_id, editable=False
    )
    task_id = models.CharField(max_length=64, db_index=True)
    trace_id = models.CharField(max_length=128, blank=True, default="")
    priority = models.CharField(max_length=2)
    policy = models.CharField(max_length=500, help_text="The policies that asked.")
    decider_role = models.CharField(
        max_length=8, choices=[(role.value, role.value) for role in Role]
    )
    reason = models.CharField(max_length=1000, help_text="Why sign-off is needed.")
    snapshot = models.JSONField(help_text="What the decision is about, as it was shown.")
    digest = models.CharField(
        max_length=64, help_text="SHA-256 of the snapshot; a decision holds for it only."
    )
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.PENDING)
    requested_by = models.CharField(max_length=128)
    requester_credential = models.CharField(max_length=160, blank=True, default="")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(
        null=True, blank=True, help_text="When the task breaches its SLA."
    )
    decided_by = models.CharField(max_length=128, blank=True, default="")
    decider_credential = models.CharField(max_length=160, blank=True, default="")
    door = models.CharField(max_length=16, blank=True, default="")
    decision_reason = models.CharField(max_length=2000, blank=True, default="")
    decided_at = models.DateTimeField(null=True, blank=True)
    repeated = False  # not stored: this decision had been taken before by the same decider

    shown: Any  # what the console shows of it, set by `summaries.describe`
    unread = 0  # not stored: bytes of the snapshot that a list of the console has not read
    objects = ApprovalQuerySet.as_manager()

    class Meta:
        permissions = [("decide_approval", "Can approve and reject requests")]
        constraints = [
            models.UniqueConstraint(
                fields=["task_id"], condition=Q(status="pending"), name="approval_one_pending"
            ),
        ]
        indexes = [
            models.Index(
                fields=["priority", "created_at"],
                condition=Q(status="pending"),
                name="approval_inbox",
            ),
            models.Index(
                fields=["decider_role", "created_at", "requested_by"],
                condition=Q(status="pending"),
                name="approval_of_role",
            ),
            # With the status as a column SQLite prefers it to approval_asked, which is larger.
            models.Index(
                fields=["requested_by", "status"],
                condition=Q(status="pending"),
                name="approval_of_requester",
            ),
            models.Index(fields=["-decided_at", "-id"], condition=DECIDED, name="approval_decided"),
            models.Index(
                fields=["decided_by", "-decided_at", "-id"],
                condition=DECIDED,
                name="approval_of_decider",
            ),
            models.Index(
                fields=["status", "-decided_at", "-id"], condition=DECIDED, name="approval_of_state"
            ),
            models.Index(fields=["requested_by", "-id"], name="approval_asked"),
            models.Index(fields=["trace_id"], name="approval_trace"),
            models.Index(
                fields=["expires_at"],
                condition=Q(status="pending", expires_at__isnull=False),
                name="approval_expiry",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.approval_id} ({self.status})"


def check_priorities(value: object) -> None:
    """Raise unless the value is a list of priorities."""
    if not isinstance(value, list) or not set(map(str, value)) <= set(Priority.values):
        raise ValidationError(f"A list of priorities, of {', '.join(Priority.values)}.")


def check_types(value: object) -> None:
    """Raise unless the value is a list of task types."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValidationError('A list of task types, such as ["deployment"].')


class ApprovalPolicy(models.Model):
    """Which tasks need sign-off, and whose.

    All active policies that match a task count; the strictest demand wins.
    """

    name = models.CharField(max_length=100, unique=True)
    active = models.BooleanField(default=True)
    priorities = models.JSONField(
        default=list,
        blank=True,
        validators=[check_priorities],
        help_text='Such as ["P0", "P1"]; empty fits all.',
    )
    types = models.JSONField(
        default=list,
        blank=True,
        validators=[check_types],
        help_text='Such as ["deployment"]; empty fits all.',
    )
    decider_role = models.CharField(
        max_length=8,
        choices=[(role.value, role.value) for role in (Role.AGENT, Role.ADMIN)],
        default=Role.AGENT.value,
        help_text="The least role that may decide.",
    )
    expires_after = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Seconds until a request nobody answered expires; empty for never.",
    )
    reason = models.CharField(max_length=300, help_text="Shown to the person who decides.")

    class Meta:
        verbose_name_plural = "approval policies"

    def __str__(self) -> str:
        return self.name
