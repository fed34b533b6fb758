"""The endpoint that creates many tasks at once."""

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator_site.api.serializers import first_error
from orchestrator_site.api.viewsets import ApiViewSet
from orchestrator_site.core.actors import Role
from orchestrator_site.core.errors import DomainError
from tasks_app import queries
from tasks_app.api.serializers.batches import (
    BatchAnswer,
    BatchItemSerializer,
    BatchRequest,
    BatchSerializer,
)
from tasks_app.api.tasks import traced
from tasks_app.models import Task
from tasks_app.services import batches


class BatchViewSet(ApiViewSet):
    """Create many tasks."""

    noun = "work"
    roles = {"batch": Role.AGENT}
    rate_scopes = {"batch": "tasks_batch"}
    once_actions = ("batch",)
    examples = {
        "batch": {
            "tasks": [
                {"type": "bugfix", "payload": {"issue": "The cart loses items"}, "priority": "P2"}
            ]
        }
    }

    @extend_schema(request=BatchRequest, responses=BatchAnswer)
    def batch(self, request: Request) -> Response:
        """Create up to 100 tasks: `all` or none, or `each` that can be. Each counts in the rate."""
        params = self.checked(BatchSerializer)
        self.count_items(len(params["tasks"]))
        create = self._all if params["mode"] == "all" else self._each
        return self.once(lambda: answer_of(params["mode"], create(params["tasks"])))

    def _all(self, items: list[dict[str, Any]]) -> list[Task]:
        news = self.checked(BatchRequest, {"tasks": items})["tasks"]
        news = [traced(new, self.request) for new in news]
        return batches.create_all(news, by=self.actor, now=self.now)

    def _each(self, items: list[dict[str, Any]]) -> list[Task | DomainError]:
        read = [BatchItemSerializer(data=item) for item in items]
        news = [
            traced(item.validated_data, self.request)
            if item.is_valid()
            else DomainError(first_error(item.errors))
            for item in read
        ]
        return batches.create_each(news, by=self.actor, now=self.now)


def answer_of(mode: str, outcomes: Sequence[Task | DomainError]) -> dict[str, Any]:
    """Return what a batch answers: one result for each task, in the order given."""
    results = [
        {"success": True, "task_id": row.task_id, "task": queries.created(row), "detail": None}
        if isinstance(row, Task)
        else {"success": False, "task_id": None, "task": None, "detail": str(row)}
        for row in outcomes
    ]
    created = sum(isinstance(row, Task) for row in outcomes)
    return BatchAnswer.of({"mode": mode, "created": created, "results": results})
