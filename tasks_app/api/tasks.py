"""Endpoints of tasks and of their statistics."""

from contextlib import suppress
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator_site.api.viewsets import ApiViewSet
from orchestrator_site.core.actors import Role
from orchestrator_site.core.ids import new_id
from tasks_app import queries, rules
from tasks_app.api.serializers.tasks import (
    NewTaskSerializer,
    ReportSerializer,
    StatsAnswer,
    StatusAnswer,
    TaskAnswer,
    TaskCreatedAnswer,
    TaskListAnswer,
    TaskListQuery,
)
from tasks_app.models import Status, Task
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
        if self.action != "report":
            return super().rate_scope()
        leased = "attempt" in self.request.query_params
        with suppress(APIException):
            leased = leased or self.body().get("attempt") is not None
        return "claim" if leased else super().rate_scope()

    @extend_schema(request=NewTaskSerializer, responses=TaskCreatedAnswer)
    async def create(self, request: Request) -> Response:
        """Create a task and route it to the appropriate agent."""
        fields = traced(self.checked(NewTaskSerializer), request)
        new = intake.NewTask(fields, self.actor, self.now)
        return await self.write_once(intake.create_all, new, created_answer)

    @extend_schema(parameters=[TaskListQuery], responses=TaskListAnswer)
    def list(self, request: Request) -> Response:
        """List tasks, newest first."""
        tasks, following = queries.page(**self.asked(TaskListQuery), now=self.now)
        answer = {"count": len(tasks), "tasks": tasks, "next": following}
        return Response(TaskListAnswer.of(answer))

    @extend_schema(responses=TaskAnswer)
    async def retrieve(self, request: Request, task_id: str) -> Response:
        """Return one task."""
        task = await self.read(queries.find_all, task_id)
        return Response(TaskAnswer.of({"task_id": task_id, "task": task}))

    @extend_schema(parameters=[ReportSerializer], request=ReportSerializer, responses=StatusAnswer)
    async def report(self, request: Request, task_id: str) -> Response:
        """Report how a task stands. Saying it again changes nothing."""
        fields = self.asked(ReportSerializer)
        fields["error"] = fields["error"] or ""
        report = lifecycle.Report(task_id=task_id, **fields, by=self.actor, now=self.now)
        task = await self.write(lifecycle.report_all, report)
        return Response(StatusAnswer.of(task))


class StatsViewSet(ApiViewSet):
    """How much there is to do."""

    roles = {"stats": None}
    rate_scopes = {"stats": "stats"}

    @extend_schema(responses=StatsAnswer, auth=[])
    async def stats(self, request: Request) -> Response:
        """Return current queue statistics. Public: counts only."""
        counted = await self.read(statistics.counts_for, None)
        answer = {
            "queue": statistics.queue_stats(counted),
            "by_status": {status.value: counted[status.value] for status in Status},
            "sla": {"warnings": counted["sla_warnings"], "violations": counted["sla_violations"]},
            "timestamp": self.now,
        }
        return Response(StatsAnswer(answer).data)


def created_answer(task: Task) -> dict[str, Any]:
    """Return what is said of a new task."""
    agent = task.assigned_agent
    message = f" and assigned to {agent}" if agent else "; no agent can take it yet"
    answer = {"task_id": task.task_id, "task": queries.created(task)}
    return TaskCreatedAnswer.of({**answer, "message": f"Task created{message}"})


def traced(new: dict[str, Any], request: Request) -> dict[str, Any]:
    """Return the fields of a new task with the trace it belongs to, a new one if it names none."""
    trace_id = rules.trace_id_of(new, request.META.get("HTTP_TRACEPARENT", ""))
    return {**new, "trace_id": trace_id or new_id("trace")}
