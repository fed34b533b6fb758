"""The API door of tasks."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator_site.api.viewsets import ApiViewSet
from orchestrator_site.core import tracing
from orchestrator_site.core.actors import Role
from orchestrator_site.core.errors import Invalid
from orchestrator_site.core.ids import new_id
from tasks_app import queries
from tasks_app.api.serializers.tasks import (
    NewTaskSerializer,
    ReportSerializer,
    StatsAnswer,
    StatusAnswer,
    TaskAnswer,
    TaskCreatedAnswer,
    TaskListAnswer,
    TaskListQuery,
    answer_of,
)
from tasks_app.models import Status
from tasks_app.services import intake, lifecycle, statistics


class TaskViewSet(ApiViewSet):
    """Hand in tasks, read them, and report how they stand."""

    roles = {"create": Role.AGENT, "list": Role.USER, "retrieve": Role.USER, "report": Role.AGENT}
    rate_scopes = {"create": "tasks", "retrieve": "task_read", "report": "task_status"}

    examples = {
        "create": {
            "type": "bugfix",
            "payload": {"issue": "The cart loses items", "repository": "shop"},
            "priority": "P2",
            "source": "api",
            "sla_target": 3600,
        },
        "report": {"status": "in_progress"},
    }

    def rate_scope(self) -> str:
        """Return what the request counts as: a report under a lease is part of the work loop.

        One that names an attempt which is over changes nothing.
        """
        if self.action == "report" and self._names_attempt():
            return "claim"
        return super().rate_scope()

    def _names_attempt(self) -> bool:
        if "attempt" in self.request.query_params:
            return True
        try:
            return self.body().get("attempt") is not None
        except APIException:
            return False

    @extend_schema(request=NewTaskSerializer, responses=TaskCreatedAnswer)
    def create(self, request: Request) -> Response:
        """Create a task and route it to the appropriate agent."""
        new = self.checked(NewTaskSerializer)
        new["trace_id"] = trace_id_of(new, request)
        return self.once(lambda: self._created(new))

    def _created(self, new: dict[str, Any]) -> dict[str, Any]:
        task = intake.create_task(**new, by=self.actor, now=self.now)
        queries.with_new_gates([task])
        return TaskCreatedAnswer(answer_of(task, message=intake_message(task.assigned_agent))).data

    @extend_schema(parameters=[TaskListQuery], responses=TaskListAnswer)
    def list(self, request: Request) -> Response:
        """List tasks, newest first."""
        tasks, following = queries.page(**self.asked(TaskListQuery), now=self.now)
        return Response(
            TaskListAnswer({"count": len(tasks), "tasks": tasks, "next": following}).data
        )

    @extend_schema(responses=TaskAnswer)
    def retrieve(self, request: Request, task_id: str) -> Response:
        """Return one task."""
        [task] = queries.with_gates([queries.get_task(task_id)])
        return Response(TaskAnswer(answer_of(task)).data)

    @extend_schema(parameters=[ReportSerializer], request=ReportSerializer, responses=StatusAnswer)
    def report(self, request: Request, task_id: str) -> Response:
        """Report how a task stands. Saying it again changes nothing."""
        said = self.asked(ReportSerializer)
        said["error"] = said["error"] or ""
        if said["status"] == Status.CANCELLED:
            task = lifecycle.cancel_task(
                task_id=task_id, by=self.actor, now=self.now, reason=said["error"]
            )
        else:
            said["status"] = Status(said["status"])
            task = lifecycle.report_status(task_id=task_id, **said, by=self.actor, now=self.now)
        return Response(StatusAnswer(task).data)


class StatsViewSet(ApiViewSet):
    """How much there is to do."""

    roles = {"stats": None}
    rate_scopes = {"stats": "stats"}

    @extend_schema(responses=StatsAnswer, auth=[])
    def stats(self, request: Request) -> Response:
        """Return current queue statistics. Public: counts only."""
        counted = statistics.counts()
        answer = {
            "queue": statistics.queue_stats(counted),
            "by_status": {status.value: counted[status.value] for status in Status},
            "sla": {"warnings": counted["sla_warnings"], "violations": counted["sla_violations"]},
            "timestamp": self.now,
        }
        return Response(StatsAnswer(answer).data)


def trace_id_of(new: dict[str, Any], request: Request) -> str:
    """Return the trace a new task belongs to: its field, its metadata, the W3C header, or a new one."""
    said = new.get("trace_id") or new.get("metadata", {}).get("trace_id")
    if said is not None:
        if not isinstance(said, str) or not 0 < len(said) <= 128 or not said.isprintable():
            raise Invalid(
                "trace_id must be a string of 1 to 128 printable characters.",
                field="metadata.trace_id",
            )
        return said
    return tracing.trace_id_of(request.headers.get("traceparent", "")) or new_id("trace")


def intake_message(agent: str) -> str:
    """Return what the answer says of a new task."""
    return (
        f"Task created and assigned to {agent}"
        if agent
        else "Task created; no agent can take it yet"
    )
