"""What the list of approvals can be narrowed to."""

from typing import Any

from django.http import HttpRequest

from approvals_app.models import PRIORITIES, Approval, ApprovalPolicy, Status
from orchestrator_site.console.pages import Choice

RECENT = 500  # the requests among which requesters are looked for


class InState(Choice):
    """Where a request stands; those that wait, unless asked otherwise."""

    title, parameter_name = "status", "status"

    def options(self) -> list[str]:
        """Return the states, and two groups of them."""
        return ["all", "decided", *(state for state in Status.values if state != Status.PENDING)]

    def choices(self, changelist: Any) -> Any:
        """Name the choice without a value for what it shows."""
        for choice in super().choices(changelist):
            yield choice | ({"display": "pending"} if choice["display"] == "All" else {})

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the requests of the chosen state."""
        groups = {None: queryset.pending, "": queryset.pending, "decided": queryset.decided, "all": queryset.all}
        chosen = groups.get(self.value())
        return chosen() if chosen else queryset.filter(status=self.value())


class OfPriority(Choice):
    """How urgent."""

    title, parameter_name, column = "priority", "priority", "priority"

    def options(self) -> tuple[str, ...]:
        """Return the priorities."""
        return PRIORITIES


class OfPolicy(Choice):
    """Which policy asked."""

    title, parameter_name, column = "policy", "policy", "policy"

    def options(self) -> list[str]:
        """Return the policies there are now."""
        return list(ApprovalPolicy.objects.order_by("name").values_list("name", flat=True))


class OfRequester(Choice):
    """Who asked, among the newest requests."""

    title, parameter_name, column = "requester", "requested_by", "requested_by"

    def options(self) -> list[str]:
        """Return who asked lately."""
        return sorted(set(Approval.objects.order_by("-id").values_list("requested_by", flat=True)[:RECENT]))
