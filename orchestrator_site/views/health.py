"""Health of the service and the links of its root."""

import contextlib
import dataclasses

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpResponse, HttpResponseRedirect
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator_site.api import throttling
from orchestrator_site.api.exceptions import RETRY_AFTER
from orchestrator_site.api.viewsets import ApiViewSet
from orchestrator_site.core.actors import Actor
from orchestrator_site.infra import storage
from orchestrator_site.infra.database_probe import PROBE_SECONDS, database_answers
from orchestrator_site.infra.redis_cache import redis_state
from orchestrator_site.views.serializers import HealthSerializer, LiveSerializer, RootSerializer
from tasks_app.services.statistics import queue_stats

UNHEALTHY = {  # without its place, which is nobody's business
    "unreachable": "The database is unreachable.",
    "full": "The disk of the database is full.",
    "read-only": "The database cannot be written: it is read-only.",
}
LINKS = {
    "docs": "/docs",
    "redoc": "/redoc",
    "openapi": "/openapi.json",
    "health": "/health",
    "live": "/live",
    "stats": "/stats",
    "console": "/admin/",
}


class RootViewSet(ApiViewSet):
    """The front page."""

    roles = {"retrieve": None}

    @extend_schema(responses=RootSerializer)
    def retrieve(self, request: Request) -> HttpResponse:
        """Name the service, its version and where to go. A browser is led to the console."""
        headers = {"Vary": "Accept"}
        accepted = request.headers.get("Accept", "")
        if "text/html" in accepted and "application/json" not in accepted:
            return HttpResponseRedirect("/admin/", headers=headers)
        body = {"service": "orchestrator", "version": settings.VERSION, "links": LINKS}
        return Response(body, headers=headers)


class HealthViewSet(ApiViewSet):
    """Is the service well?"""

    # It must answer when the database, and so the keys, cannot be read.
    authentication_classes: list[type] = []
    roles = {"retrieve": None}
    rate_scopes = {"retrieve": "health"}

    @extend_schema(responses={200: HealthSerializer})
    async def retrieve(self, request: Request) -> Response:
        """Say how the stores are and how much work waits.

        `status` is `healthy`, or `degraded` while Redis is configured but unreachable (work goes
        on). Without a database, or where its disk is full or read-only, it is a 503 with
        `unhealthy`, and `detail` says which. `redis` is `embedded` where none is configured.
        """
        ask, fault, stats = self.executor.call_shared, storage.state_of_disk(), None
        redis = await ask(redis_state)
        if not fault:
            with contextlib.suppress(DatabaseError, TimeoutError):
                stats = await ask(stats_of_database, seconds=PROBE_SECONDS)
        if stats is None:
            state = {"status": "unhealthy", "redis": redis}
            detail = {"detail": UNHEALTHY[fault or "unreachable"]}
            return Response(detail | state, 503, headers={"Retry-After": str(RETRY_AFTER)})
        status = "degraded" if redis == "disconnected" else "healthy"
        return Response({"status": status, "redis": redis, "queue_stats": stats})


def stats_of_database() -> dict[str, int] | None:
    """Return how much work waits; None if the database does not answer."""
    return queue_stats() if database_answers() else None


class LiveViewSet(ApiViewSet):
    """Does the process serve?"""

    authentication_classes: list[type] = []
    roles = {"retrieve": None}
    rate_scopes = {"retrieve": "health"}

    def bucket(self, actor: Actor | None) -> throttling.Bucket:
        """Return a counter of this process: no store is asked."""
        return dataclasses.replace(super().bucket(actor), shared=False)

    @extend_schema(responses=LiveSerializer)
    async def retrieve(self, request: Request) -> Response:
        """Say that this process serves, whatever its stores do.

        For probes that restart what does not answer. Whether to send it requests, `/health` says.
        """
        return Response({"status": "alive"})


root = RootViewSet.as_view({"get": "retrieve"})
live = LiveViewSet.as_view({"get": "retrieve"})
health = HealthViewSet.as_view({"get": "retrieve"})
