"""What the list of tasks can be narrowed to."""

from datetime import timedelta
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.http import HttpRequest

from orchestrator_site.console.base import Choice
from orchestrator_site.core import times
from orchestrator_site.core.ids import first_id
from tasks_app.models import FailureReason, Priority, Status, Task
from tasks_app.services import routing

SPANS = {
    "1h": ("the last hour", timedelta(hours=1)),
    "24h": ("the last day", timedelta(days=1)),
    "7d": ("the last week", timedelta(days=7)),
    "30d": ("the last 30 days", timedelta(days=30)),
}


class InStatus(Choice):
    title, parameter_name, column = "status", "status", "status"

    def options(self) -> list[str]:
        return ["open", *Status.values]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.open() if self.value() == "open" else super().queryset(request, queryset)


class OfPriority(Choice):
    title, parameter_name, column = "priority", "priority", "priority"

    def options(self) -> list[str]:
        return list(Priority.values)


class OfType(Choice):
    title, parameter_name, column = "type", "type", "type"

    def options(self) -> list[str]:
        return sorted(routing.routing_rules())


class OfAgent(Choice):
    title, parameter_name, column = "agent", "agent", "assigned_agent"

    def options(self) -> list[str]:
        return sorted(routing.agents())


class FailedBecause(Choice):
    title, parameter_name, column = "failed because", "failure", "failure_reason"

    def options(self) -> list[str]:
        return list(FailureReason.values)


class CreatedWithin(SimpleListFilter):
    """How long ago it was handed in, at most."""

    title, parameter_name = "handed in", "created"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, f"in {words}") for name, (words, _) in SPANS.items()]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the tasks since then. Ids sort by age and have an index: the oldest one gives the row number."""
        if (chosen := SPANS.get(self.value() or "")) is None:
            return queryset
        since = first_id("task", times.now() - chosen[1])
        oldest = (
            Task.objects.filter(task_id__gte=since)
            .order_by("task_id")
            .values_list("pk", flat=True)
            .first()
        )
        return queryset.none() if oldest is None else queryset.filter(pk__gte=oldest)


class InSlaState(Choice):
    title, parameter_name = "SLA", "sla"

    def options(self) -> tuple[str, ...]:
        return ("violated", "warning", "on_track", "none")

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        wanted: dict[str, dict[str, Any]] = {
            "violated": {"sla_breached_at__isnull": False},
            "warning": {"sla_warned_at__isnull": False, "sla_breached_at__isnull": True},
            "on_track": {"due_at__isnull": False, "sla_warned_at__isnull": True},
            "none": {"due_at__isnull": True},
        }
        rows = queryset.open() if self.value() in ("warning", "on_track") else queryset
        return rows.filter(**wanted.get(self.value() or "", {}))


class AwaitsApproval(Choice):
    """Whether a person must sign first."""

    title, parameter_name = "waits for sign-off", "awaiting"

    def options(self) -> tuple[str, ...]:
        return ("yes", "no")

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return (
            queryset.filter(awaiting_approval=self.value() == "yes") if self.value() else queryset
        )
