"""What the list of tasks can be narrowed to."""

from typing import Any

from django.http import HttpRequest

from orchestrator_site.console.pages import Choice
from tasks_app import routing
from tasks_app.models import OPEN, Priority, Status


class InStatus(Choice):
    """Where a task stands."""

    title, parameter_name, column = "status", "status", "status"

    def options(self) -> list[str]:
        """Return the statuses, and one group."""
        return ["open", *Status.values]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the tasks of the chosen status."""
        return queryset.open() if self.value() == "open" else super().queryset(request, queryset)


class OfPriority(Choice):
    """How urgent."""

    title, parameter_name, column = "priority", "priority", "priority"

    def options(self) -> list[str]:
        """Return the priorities."""
        return list(Priority.values)


class OfType(Choice):
    """What kind of work."""

    title, parameter_name, column = "type", "type", "type"

    def options(self) -> list[str]:
        """Return the types with a rule."""
        return sorted(routing.routing_rules())


class OfAgent(Choice):
    """Whose work."""

    title, parameter_name, column = "agent", "agent", "assigned_agent"

    def options(self) -> list[str]:
        """Return the agents."""
        return sorted(routing.agents())


class InSlaState(Choice):
    """How the deadline stands."""

    title, parameter_name = "SLA", "sla"

    def options(self) -> tuple[str, ...]:
        """Return the states that can be asked of the rows."""
        return ("violated", "warning", "on_track", "none")

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the tasks whose deadline stands so."""
        wanted: dict[str, dict[str, Any]] = {
            "violated": {"sla_breached_at__isnull": False},
            "warning": {"sla_warned_at__isnull": False, "sla_breached_at__isnull": True, "status__in": OPEN},
            "on_track": {"due_at__isnull": False, "sla_warned_at__isnull": True, "status__in": OPEN},
            "none": {"due_at__isnull": True},
        }
        return queryset.filter(**wanted.get(self.value() or "", {}))


class AwaitsApproval(Choice):
    """Whether a person must sign first."""

    title, parameter_name = "waits for sign-off", "awaiting"

    def options(self) -> tuple[str, ...]:
        """Return yes and no."""
        return ("yes", "no")

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the tasks that wait for a person, or do not."""
        return queryset.filter(awaiting_approval=self.value() == "yes") if self.value() else queryset
