"""The endpoint that creates many tasks at once."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
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
from tasks_app.services.batches import Batch, create_batches
from tasks_app.services.intake import NewTask


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
    async def batch(self, request: Request) -> Response:
        """Create up to 100 tasks: `all` or none, or `each` that can be. Each counts in the rate."""
        params = self.checked(BatchSerializer)
        await self.count_items(len(params["tasks"]))
        all_or_none = params["mode"] == "all"
        news = (self._all if all_or_none else self._each)(params["tasks"])
        answer = partial(answer_of, params["mode"])
        return await self.write_once(create_batches, Batch(news, all_or_none), answer)

    def _all(self, items: list[dict[str, Any]]) -> list[NewTask | DomainError]:
        return [self._new(item) for item in self.checked(BatchRequest, {"tasks": items})["tasks"]]

    def _each(self, items: list[dict[str, Any]]) -> list[NewTask | DomainError]:
        news: list[NewTask | DomainError] = []
        for item in items:
            try:
                news.append(self._new(self.checked(BatchItemSerializer, item)))
            except ValidationError as refusal:
                news.append(DomainError(first_error(refusal.detail)))
        return news

    def _new(self, fields: dict[str, Any]) -> NewTask:
        return NewTask(traced(fields, self.request), self.actor, self.now)


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
