"""Endpoints of agents and of the types of tasks they take."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator_site.api.viewsets import ApiViewSet
from orchestrator_site.core.actors import Role
from tasks_app.api.serializers.agents import (
    AgentChangedAnswer,
    AgentChangeSerializer,
    AgentsAnswer,
    TypeChangedAnswer,
    TypeChangeSerializer,
)
from tasks_app.services import agents as agent_services


class AgentViewSet(ApiViewSet):
    """List agents; pause, limit and switch them and their types of tasks."""

    roles = {"list": Role.USER}

    @extend_schema(responses=AgentsAnswer)
    def list(self, request: Request) -> Response:
        """List the agents: who holds work, how much waits, who is paused, who was seen when."""
        agents = agent_services.overview(now=self.now)
        return Response(AgentsAnswer({"count": len(agents), "agents": agents}).data)

    @extend_schema(request=AgentChangeSerializer, responses=AgentChangedAnswer)
    def change(self, request: Request, name: str) -> Response:
        """Pause, resume, limit or switch an agent. Admins only."""
        changes = self.checked(AgentChangeSerializer)
        agent = agent_services.change_agent(name=name, **changes, by=self.actor, now=self.now)
        return Response(AgentChangedAnswer(agent).data)

    @extend_schema(request=TypeChangeSerializer, responses=TypeChangedAnswer)
    def change_type(self, request: Request, task_type: str) -> Response:
        """Pause, resume or limit tasks of a type. Admins only."""
        changes = self.checked(TypeChangeSerializer)
        rule = agent_services.change_type(
            task_type=task_type, **changes, by=self.actor, now=self.now
        )
        return Response(TypeChangedAnswer(rule).data)
