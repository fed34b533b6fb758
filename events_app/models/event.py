"""Events, and the row that says how far the log goes."""

from collections.abc import Mapping

from django.db import models
from django.db.models import Q, TextChoices

from events_app.models.position import Position
from orchestrator_site.core.ids import new_id


def new_event_id() -> str:
    """Return a new public id, `evt_…`."""
    return new_id("evt")


class Origin(TextChoices):
    """Who recorded an event. Only `system` and `human` events come with a change of state."""

    SYSTEM = "system"
    HUMAN = "human"
    AGENT = "agent"


class EventQuerySet(models.QuerySet["Event"]):
    """Events, by position and task."""

    def after(self, position: int) -> "EventQuerySet":
        return self.filter(position__gt=position).order_by("position")

    def of_task(self, task_id: str) -> "EventQuerySet":
        return self.filter(~Q(task_id=""), task_id=task_id)  # as SQLite's partial index demands


class Event(models.Model):
    """What happened, who said so, and by which door. Never changed."""

    event_id = models.CharField(max_length=40, unique=True, default=new_event_id, editable=False)
    position = models.BigIntegerField(
        unique=True, editable=False, help_text="Place in the order readers see."
    )
    event_type = models.CharField(max_length=128)
    origin = models.CharField(max_length=8, choices=Origin.choices)
    source_agent = models.CharField(
        max_length=100, help_text="The sender as the publisher names it."
    )
    source_verified = models.BooleanField(
        default=False, help_text="The credential speaks for that sender."
    )
    publisher = models.CharField(max_length=128, help_text="Who the credential speaks for.")
    door = models.CharField(max_length=16)
    payload = models.JSONField(default=dict)
    task_id = models.CharField(max_length=64, blank=True, default="")
    trace_id = models.CharField(max_length=128, blank=True, default="")
    priority = models.CharField(max_length=2, blank=True, default="")
    moved_from = models.CharField(
        max_length=16, blank=True, default="", help_text="The status that was left."
    )
    moved_to = models.CharField(
        max_length=16, blank=True, default="", help_text="The status that was taken."
    )
    created_at = models.DateTimeField()

    unread: int  # put beside by `console.large_values`
    pruned: Mapping[str, int] = {}  # tasks it tells are gone, by status; for the counts, not stored

    objects = EventQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["task_id", "id"], condition=~Q(task_id=""), name="event_of_task"),
            models.Index(
                fields=["trace_id", "id"], condition=~Q(trace_id=""), name="event_of_trace"
            ),
            models.Index(fields=["event_type", "position"], name="event_by_type"),
            models.Index(fields=["publisher", "position"], name="event_by_publisher"),
            models.Index(
                fields=["origin", "position"],
                condition=~Q(origin="system"),
                name="event_by_origin",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} {self.event_id}"

    @property
    def place(self) -> Position:
        """Return its position, which names it; only for one that is stored."""
        return Position(self.position, self.event_id)


class Ledger(models.Model):
    """One row: how far the log goes. Whoever holds its lock writes the next events."""

    head = models.BigIntegerField(default=0, help_text="Position of the newest event.")
    pruned_to = models.BigIntegerField(
        default=0, help_text="Events up to this position are no longer kept."
    )

    def __str__(self) -> str:
        return f"head {self.head}, kept from {self.pruned_to + 1}"
