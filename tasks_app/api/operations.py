"""Endpoints that cancel, reassign and requeue tasks, and that show what became of them."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator_site.api.viewsets import ApiViewSet
from orchestrator_site.core.actors import Role
from tasks_app import queries
from tasks_app.api.serializers.operations import (
    DeadLetterQuery,
    ReasonSerializer,
    ReassignSerializer,
    RequeuedAnswer,
    RequeueSerializer,
    TimelineAnswer,
    TimelineQuery,
)
from tasks_app.api.serializers.tasks import StatusAnswer, TaskListAnswer
from tasks_app.models import Task
from tasks_app.services import lifecycle, retries, routing


class OperationViewSet(ApiViewSet):
    """Cancel, reassign and requeue tasks; look after the dead letters."""

    noun = "work"
    roles = {"cancel": Role.AGENT, "dead_letters": Role.USER, "timeline": Role.USER}
    examples = {
        "cancel": {"reason": "Not needed any more."},
        "reassign": {"agent": "ops_agent", "reason": "It is theirs."},
    }

    @extend_schema(parameters=[ReasonSerializer], request=ReasonSerializer, responses=StatusAnswer)
    def cancel(self, request: Request, task_id: str) -> Response:
        """Cancel a waiting or running task. Its holder hears of it at the next heartbeat."""
        reason = self.asked(ReasonSerializer)["reason"]
        task = lifecycle.cancel_task(task_id=task_id, by=self.actor, now=self.now, reason=reason)
        return Response(StatusAnswer.of(task))

    @extend_schema(request=ReassignSerializer, responses=StatusAnswer)
    def reassign(self, request: Request, task_id: str) -> Response:
        """Give a waiting task to another agent; one that needs sign-off asks anew. Admins only."""
        params = self.checked(ReassignSerializer)
        task = routing.reassign(task_id=task_id, **params, by=self.actor, now=self.now)
        return Response(StatusAnswer.of(task))

    @extend_schema(request=None, responses=StatusAnswer)
    def requeue(self, request: Request, task_id: str) -> Response:
        """Put a failed task back in the queue with fresh attempts. Admins only."""
        task = retries.requeue(task_id=task_id, by=self.actor, now=self.now)
        return Response(StatusAnswer.of(task))

    @extend_schema(request=RequeueSerializer, responses=RequeuedAnswer)
    def requeue_many(self, request: Request) -> Response:
        """Put dead letters back in the queue, by filter. Admins only."""
        params = self.checked(RequeueSerializer)
        ids = retries.requeue_dead_letters(**params, by=self.actor, now=self.now)
        return Response(RequeuedAnswer.of({"count": len(ids), "task_ids": ids}))

    @extend_schema(parameters=[DeadLetterQuery], responses=TaskListAnswer)
    def dead_letters(self, request: Request) -> Response:
        """List tasks that were given up on, newest first."""
        params = retries.dead_filter(**self.asked(DeadLetterQuery))
        tasks, following = queries.page(**params, now=self.now)
        answer = {"count": len(tasks), "tasks": tasks, "next": following}
        return Response(TaskListAnswer.of(answer))

    @extend_schema(parameters=[TimelineQuery], responses=TimelineAnswer)
    def timeline(self, request: Request, task_id: str) -> Response:
        """List everything that happened to a task, in order: who, when, and by which door."""
        events, following = queries.timeline(
            Task.objects.get_or_refuse(task_id), **self.asked(TimelineQuery)
        )
        answer = {"task_id": task_id, "count": len(events), "timeline": events, "next": following}
        return Response(TimelineAnswer.of(answer))
