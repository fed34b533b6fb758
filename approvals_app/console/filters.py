"""What the list of approvals can be narrowed to."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest

from approvals_app.models import Approval, ApprovalPolicy, Status
from orchestrator_site.console.base import TYPE_ID
from orchestrator_site.console.filters import Choice, Within

OF_DECISIONS = frozenset({"decider", "decided"})
RECENT = 500  # the requests among which requesters are looked for


class InState(Choice):
    """Where a request stands; those that wait, unless asked otherwise."""

    title, parameter_name = "status", "status"

    def options(self) -> list[str]:
        return ["all", "decided", *(state for state in Status.values if state != Status.PENDING)]

    def choices(self, changelist: Any) -> Any:
        for choice in super().choices(changelist):
            yield choice | ({"display": "pending"} if choice["display"] == "All" else {})

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the requests of the chosen state; a search or filter of decisions takes any."""
        term = request.GET.get("q", "").strip()
        if TYPE_ID.match(term) or (not self.value() and (term or OF_DECISIONS & set(request.GET))):
            return queryset
        groups = {
            None: queryset.pending,
            "": queryset.pending,
            "decided": queryset.decided,
            "all": queryset.all,
        }
        chosen = groups.get(self.value())
        return chosen() if chosen else queryset.decided().filter(status=self.value())


class OfPolicy(Choice):
    title, parameter_name, column = "policy", "policy", "policy"

    def options(self) -> list[str]:
        return list(ApprovalPolicy.objects.order_by("name").values_list("name", flat=True))


class OfRequester(Choice):
    """Who asked, among the newest requests."""

    title, parameter_name, column = "requester", "requested_by", "requested_by"

    def options(self) -> list[str]:
        newest = Approval.objects.order_by("-id")
        return sorted(set(newest.values_list("requested_by", flat=True)[:RECENT]))


class OfDecider(Choice):
    """Who decided, among the newest decisions."""

    title, parameter_name = "decider", "decider"

    def options(self) -> list[str]:
        newest = Approval.objects.decided().order_by("-decided_at", "-id")
        return sorted(set(newest.values_list("decided_by", flat=True)[:RECENT]))

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.decided().filter(decided_by=self.value()) if self.value() else queryset


class DecidedWithin(Within):
    title, parameter_name = "decided", "decided"

    def since(self, queryset: Any, moment: datetime) -> Any:
        return queryset.decided().filter(decided_at__gte=moment)
