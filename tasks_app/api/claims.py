"""Endpoints of agents at work: claim tasks, keep their leases, give tasks back."""

from functools import partial
from operator import attrgetter

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator_site.api.long_poll import Wait
from orchestrator_site.api.viewsets import ApiViewSet
from orchestrator_site.core.actors import Role
from orchestrator_site.infra.wakeups import tasks_of
from tasks_app.api.serializers.claims import (
    ClaimAnswer,
    ClaimSerializer,
    HeartbeatAnswer,
    HeartbeatSerializer,
    ReleaseSerializer,
)
from tasks_app.api.serializers.tasks import StatusAnswer
from tasks_app.services import claims, leases


class ClaimViewSet(ApiViewSet):
    """Take tasks, keep them, give them back."""

    noun = "work"
    roles = {"claim": Role.AGENT, "heartbeat": Role.AGENT, "release": Role.AGENT}
    rate_scopes = {"claim": "claim", "heartbeat": "heartbeat"}
    examples = {"claim": {"agent": "dev_agent", "lease_seconds": 300, "wait_seconds": 0}}

    @extend_schema(request=ClaimSerializer, responses=ClaimAnswer)
    async def claim(self, request: Request) -> Response:
        """Take tasks from an agent's queue under a lease, most urgent first.

        With `wait_seconds` the answer is held back until there is something, or the time is over.
        """
        params = self.checked(ClaimSerializer)
        seconds = params.pop("wait_seconds")
        topic = tasks_of(params["agent"])
        wait = Wait(
            topics=frozenset([topic]),
            seconds=seconds,
            key=(topic, *sorted(params.get("types") or ())),
            due=attrgetter("due_in"),
        )
        wanted = partial(claims.Claim, **params, waits=seconds > 0)
        tasks = await self.write_or_wait(claims.claim_all, wanted, wait)
        return Response(ClaimAnswer.of({"tasks": tasks or []}))

    @extend_schema(request=HeartbeatSerializer, responses=HeartbeatAnswer)
    async def heartbeat(self, request: Request, task_id: str) -> Response:
        """Extend your lease, and learn whether the task was cancelled."""
        params = self.checked(HeartbeatSerializer)
        beat = leases.Heartbeat(task_id=task_id, **params, by=self.actor, now=self.now)
        task = await self.write(leases.heartbeat_all, beat)
        return Response(HeartbeatAnswer.of(task))

    @extend_schema(request=ReleaseSerializer, responses=StatusAnswer)
    async def release(self, request: Request, task_id: str) -> Response:
        """Give a task back; somebody else takes it, and the attempt does not count."""
        params = self.checked(ReleaseSerializer)
        release = leases.Release(task_id=task_id, **params, by=self.actor, now=self.now)
        task = await self.write(leases.release_all, release)
        return Response(StatusAnswer.of(task))
