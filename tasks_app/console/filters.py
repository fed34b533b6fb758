"""What the list of tasks can be narrowed to."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest

from orchestrator_site.console.filters import Choice, OfPriority, Within
from orchestrator_site.core.ids import first_id
from tasks_app.models import FailureReason, Status, Task
from tasks_app.services import routing


class TaskChoice(Choice):
    """A filter that says the condition of a partial index with the value."""

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.having(self.column, self.value()) if self.value() else queryset


class OfTaskPriority(TaskChoice, OfPriority):
    pass


class InStatus(Choice):
    title, parameter_name, column = "status", "status", "status"
    values = ("open", *Status.values)

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.open() if self.value() == "open" else super().queryset(request, queryset)


class OfType(Choice):
    title, parameter_name, column = "type", "type", "type"

    def options(self) -> list[str]:
        return sorted(routing.routing_rules())


class OfAgent(Choice):
    title, parameter_name, column = "agent", "agent", "assigned_agent"

    def options(self) -> list[str]:
        return sorted(routing.agents())


class FailedBecause(TaskChoice):
    title, parameter_name, column = "failed because", "failure", "failure_reason"
    values = FailureReason.values


class CreatedWithin(Within):
    title, parameter_name = "handed in", "created"

    def since(self, queryset: Any, moment: datetime) -> Any:
        """Ids sort by age and have an index: the oldest one since then gives the row number."""
        rows = Task.objects.filter(task_id__gte=first_id("task", moment)).order_by("task_id")
        oldest = rows.values_list("pk", flat=True).first()
        return queryset.none() if oldest is None else queryset.filter(pk__gte=oldest)


class InSlaState(Choice):
    title, parameter_name = "SLA", "sla"
    values = ("violated", "warning", "on_track", "none")

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
    title, parameter_name = "waits for sign-off", "awaiting"
    values = ("yes", "no")

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if not self.value():
            return queryset
        return queryset.filter(awaiting_approval=self.value() == "yes")


FILTERS = (
    InStatus,
    OfTaskPriority,
    OfType,
    OfAgent,
    FailedBecause,
    CreatedWithin,
    InSlaState,
    AwaitsApproval,
)
