"""A small service of its own for the tests of the API base: doors that do nothing but show how they
were called.
"""

from collections.abc import Callable
from typing import Any

from django.db import OperationalError
from django.urls import include, path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator_site.api import converters  # noqa: F401
from orchestrator_site.api.serializers import SuccessSerializer
from orchestrator_site.api.viewsets import ApiViewSet
from orchestrator_site.core.actors import Role
from orchestrator_site.core.errors import Conflict, Forbidden, Invalid, NotFound
from orchestrator_site.models import Principal
from orchestrator_site.views import docs, errors, health, token_endpoint

REFUSALS: dict[str, Callable[[], Exception]] = {
    "conflict": lambda: Conflict("It is done.", status="done"),
    "forbidden": lambda: Forbidden("Not yours."),
    "missing": lambda: NotFound("There is no such thing."),
    "invalid": lambda: Invalid("Too long.", field="name"),
    "gone": lambda: OperationalError("server closed the connection"),
    "fault": lambda: RuntimeError("a bug"),
}


class InnerSerializer(serializers.Serializer):
    url = serializers.URLField()


class NewThingSerializer(serializers.Serializer):
    name = serializers.CharField(max_length=100)
    payload = serializers.DictField(required=False, default=dict)
    number = serializers.IntegerField(required=False)
    inner = InnerSerializer(required=False)
    tags = serializers.ListField(child=serializers.CharField(max_length=3), required=False)


class StateSerializer(serializers.Serializer):
    status = serializers.ChoiceField(["open", "done"])
    error = serializers.CharField(required=False, allow_blank=True)


class ThingSerializer(SuccessSerializer):
    name = serializers.CharField()
    payload = serializers.DictField()


class ThingViewSet(ApiViewSet):
    """Things."""

    roles = {
        "create": Role.AGENT,
        "retrieve": Role.USER,
        "status": Role.AGENT,
        "listing": None,
        "refuse": Role.USER,
    }
    rate_scopes = {
        "create": "tasks",
        "retrieve": "task_read",
        "status": "task_status",
        "listing": "stats",
    }

    @extend_schema(request=NewThingSerializer, responses=ThingSerializer)
    def create(self, request: Request) -> Response:
        """Keep a thing: its name, in the one table that is at hand."""
        new = self.checked(NewThingSerializer)
        return self.once(lambda: self.keep(new))

    def keep(self, new: dict[str, Any]) -> dict[str, Any]:
        if Principal.objects.filter(name=new["name"]).exists():
            raise Conflict("There is one already.")
        Principal.objects.create(name=new["name"], note=self.actor.name)
        if new["name"] == "half":
            raise Conflict("It failed after the row was written.")
        return ThingSerializer({"name": new["name"], "payload": new["payload"]}).data

    @extend_schema(responses=ThingSerializer)
    def retrieve(self, request: Request, thing_id: str) -> Response:
        """Show who asks."""
        return Response(
            {"success": True, "name": self.actor.name, "payload": {"role": self.actor.role}}
        )

    @extend_schema(request=StateSerializer, parameters=[StateSerializer], responses=StateSerializer)
    def status(self, request: Request, thing_id: str) -> Response:
        """Show what was asked."""
        return Response(self.asked(StateSerializer))

    @extend_schema(responses=SuccessSerializer)
    def listing(self, request: Request) -> Response:
        """Show who asks, if anybody."""
        return Response({"success": True, "name": self.actor and self.actor.name})

    @extend_schema(responses=SuccessSerializer)
    def refuse(self, request: Request, kind: str) -> Response:
        """Refuse."""
        raise REFUSALS[kind]()

    @extend_schema(responses=SuccessSerializer)
    def unnamed(self, request: Request) -> Response:
        """Be an action that `roles` does not name."""
        return Response({"success": True})


def act(**actions: Any) -> Any:
    return ThingViewSet.as_view(actions)


urlpatterns = [
    path("", health.root),
    path("health", health.health),
    path("live", health.live),
    path("auth/token", token_endpoint.token),
    path("docs", docs.docs),
    path("redoc", docs.redoc),
    path("openapi.json", docs.openapi),
    path("things", act(post="create", get="listing")),
    path("things/<public_id:thing_id>", act(get="retrieve")),
    path("things/<public_id:thing_id>/status", act(patch="status")),
    path("refuse/<str:kind>", act(get="refuse")),
    path("unnamed", act(get="unnamed")),
    path("admin/", include([])),
]
handler400, handler403 = errors.bad_request, errors.forbidden
handler404, handler500 = errors.not_found, errors.server_error
