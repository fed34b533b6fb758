"""The API door of the work loop: claim, heartbeat, release, cancel, and what operators do to tasks."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator_site.api.long_poll import wait_for
from orchestrator_site.api.viewsets import ApiViewSet
from orchestrator_site.core.actors import Role
from orchestrator_site.core.errors import DomainError
from orchestrator_site.infra.wakeups import tasks_of
from tasks_app import queries
from tasks_app.api.serializers.tasks import StatusAnswer, TaskListAnswer
from tasks_app.api.serializers.work import (
    BatchAnswer,
    BatchItemSerializer,
    BatchRequest,
    BatchSerializer,
    ClaimAnswer,
    ClaimSerializer,
    DeadLetterQuery,
    HeartbeatAnswer,
    HeartbeatSerializer,
    ReasonSerializer,
    ReassignSerializer,
    ReleaseSerializer,
    RequeuedAnswer,
    RequeueSerializer,
    TimelineAnswer,
    TimelineQuery,
)
from tasks_app.api.tasks import trace_id_of
from tasks_app.models import Status, Task
from tasks_app.services import batches, leases, lifecycle, operations


class WorkViewSet(ApiViewSet):
    """Take work, keep it, give it back."""

    roles = {
        "claim": Role.AGENT,
        "heartbeat": Role.AGENT,
        "release": Role.AGENT,
        "cancel": Role.AGENT,
        "timeline": Role.USER,
        "dead_letters": Role.USER,
        "batch": Role.AGENT,
    }
    rate_scopes = {"claim": "claim", "heartbeat": "heartbeat", "batch": "tasks_batch"}
    once_actions = ("batch",)
    examples = {
        "claim": {"agent": "dev_agent", "lease_seconds": 300, "wait_seconds": 0},
        "batch": {
            "tasks": [
                {"type": "bugfix", "payload": {"issue": "The cart loses items"}, "priority": "P2"}
            ]
        },
        "cancel": {"reason": "Not needed any more."},
        "reassign": {"agent": "ops_agent", "reason": "It is theirs."},
    }

    @extend_schema(request=ClaimSerializer, responses=ClaimAnswer)
    def claim(self, request: Request) -> Response:
        """Take tasks from an agent's queue under a lease, most urgent first.

        With `wait_seconds` the answer is held back until there is something, or the time is over.
        """
        asked = self.checked(ClaimSerializer)
        seconds = asked.pop("wait_seconds")
        tasks = leases.claim(**asked, by=self.actor, now=self.now)
        if not tasks and seconds:
            self._wait(asked["agent"], asked.get("types"), seconds)
        return Response(ClaimAnswer({"tasks": queries.with_gates(tasks)}).data)

    def _wait(self, agent: str, types: list[str] | None, seconds: int) -> None:
        topic = tasks_of(agent)
        due = leases.seconds_to_next(agent=agent, now=self.now, types=types)
        wait_for(
            self.request,
            topics=[topic],
            seconds=seconds,
            key=(topic, *sorted(types or ())),
            again_after=due,
        )

    @extend_schema(request=HeartbeatSerializer, responses=HeartbeatAnswer)
    def heartbeat(self, request: Request, task_id: str) -> Response:
        """Extend your lease, and learn whether the task was cancelled."""
        said = self.checked(HeartbeatSerializer)
        task = leases.heartbeat(task_id=task_id, **said, by=self.actor, now=self.now)
        task.cancelled = task.status == Status.CANCELLED
        return Response(HeartbeatAnswer(task).data)

    @extend_schema(request=ReleaseSerializer, responses=StatusAnswer)
    def release(self, request: Request, task_id: str) -> Response:
        """Give a task back; somebody else takes it, and the attempt does not count."""
        said = self.checked(ReleaseSerializer)
        task = leases.release(task_id=task_id, **said, by=self.actor, now=self.now)
        return Response(StatusAnswer(task).data)

    @extend_schema(parameters=[ReasonSerializer], request=ReasonSerializer, responses=StatusAnswer)
    def cancel(self, request: Request, task_id: str) -> Response:
        """Cancel a waiting or running task. Its holder hears of it at the next heartbeat."""
        reason = self.asked(ReasonSerializer)["reason"]
        task = lifecycle.cancel_task(task_id=task_id, by=self.actor, now=self.now, reason=reason)
        return Response(StatusAnswer(task).data)

    @extend_schema(request=ReassignSerializer, responses=StatusAnswer)
    def reassign(self, request: Request, task_id: str) -> Response:
        """Give a waiting task to another agent. If it needs sign-off, it is asked for anew. Admins only."""
        said = self.checked(ReassignSerializer)
        task = operations.reassign(task_id=task_id, **said, by=self.actor, now=self.now)
        return Response(StatusAnswer(task).data)

    @extend_schema(request=None, responses=StatusAnswer)
    def requeue(self, request: Request, task_id: str) -> Response:
        """Put a failed task back in the queue with fresh attempts. Admins only."""
        task = operations.requeue(task_id=task_id, by=self.actor, now=self.now)
        return Response(StatusAnswer(task).data)

    @extend_schema(request=RequeueSerializer, responses=RequeuedAnswer)
    def requeue_many(self, request: Request) -> Response:
        """Put dead letters back in the queue, by filter. Admins only."""
        ids = operations.requeue_dead_letters(
            **self.checked(RequeueSerializer), by=self.actor, now=self.now
        )
        return Response(RequeuedAnswer({"count": len(ids), "task_ids": ids}).data)

    @extend_schema(parameters=[DeadLetterQuery], responses=TaskListAnswer)
    def dead_letters(self, request: Request) -> Response:
        """List tasks that were given up on, newest first."""
        asked = self.asked(DeadLetterQuery)
        tasks, following = queries.page(**operations.dead_filter(**asked), now=self.now)
        return Response(
            TaskListAnswer({"count": len(tasks), "tasks": tasks, "next": following}).data
        )

    @extend_schema(parameters=[TimelineQuery], responses=TimelineAnswer)
    def timeline(self, request: Request, task_id: str) -> Response:
        """List everything that happened to a task, in order: who, when, and by which door."""
        events, following = queries.timeline(queries.get_task(task_id), **self.asked(TimelineQuery))
        answer = {"task_id": task_id, "count": len(events), "timeline": events, "next": following}
        return Response(TimelineAnswer(answer).data)

    @extend_schema(request=BatchRequest, responses=BatchAnswer)
    def batch(self, request: Request) -> Response:
        """Create up to 100 tasks: `all` or none, or `each` that can be. Each counts in the rate."""
        asked = self.checked(BatchSerializer)
        self.count_items(len(asked["tasks"]))
        return self.once(
            lambda: (
                self._all(asked["tasks"]) if asked["mode"] == "all" else self._each(asked["tasks"])
            )
        )

    def _all(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        checked = self.checked(BatchRequest, {"tasks": items})["tasks"]
        news = [self._traced(new) for new in checked]
        return batch_answer("all", list(batches.create_all(news, by=self.actor, now=self.now)))

    def _each(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        read = [BatchItemSerializer(data=item) for item in items]
        valid = [place for place, item in enumerate(read) if item.is_valid()]
        made = batches.create_each(
            [self._traced(read[place].validated_data) for place in valid],
            by=self.actor,
            now=self.now,
        )
        outcome: list[Task | DomainError] = [DomainError(first_error(item.errors)) for item in read]
        for place, result in zip(valid, made, strict=True):
            outcome[place] = result
        return batch_answer("each", outcome)

    def _traced(self, new: dict[str, Any]) -> dict[str, Any]:
        return {**new, "trace_id": trace_id_of(new, self.request)}


def first_error(errors: dict[str, Any]) -> str:
    """Return the first thing wrong with an item of a batch, as one sentence."""
    return next(
        (
            f"{field}: {said[0] if isinstance(said, list) else said}"
            for field, said in errors.items()
        ),
        "",
    )


def batch_answer(mode: str, outcome: list[Task | DomainError]) -> dict[str, Any]:
    """Return what a batch answers: one result for each task, in the order given."""
    queries.with_new_gates([made for made in outcome if isinstance(made, Task)])
    results = [
        {"success": True, "task_id": made.task_id, "task": made, "detail": None}
        if isinstance(made, Task)
        else {"success": False, "task_id": None, "task": None, "detail": str(made)}
        for made in outcome
    ]
    created = sum(isinstance(made, Task) for made in outcome)
    return BatchAnswer({"mode": mode, "created": created, "results": results}).data
