"""How many more tasks may run where agents or types have a limit."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db.models import Count, QuerySet

from tasks_app.models import Agent, RoutingRule, Status, Task
from tasks_app.services import routing


class Queue(NamedTuple):
    """What claims have in common that one statement serves. types: those that run, None for all."""

    agent: str
    types: tuple[str, ...] | None
    lease_seconds: int


@dataclass
class Capacity:
    """How many more tasks may run of each agent and each type that has a limit."""

    agents: dict[str, int]
    types: dict[str, int]

    def allowed(self, queue: Queue, wanted: int) -> tuple[Collection[str] | None, int]:
        """Return of which types (None for all) how many tasks can be taken without counting."""
        most = min(wanted, self.agents.get(queue.agent, wanted))
        if self.types.keys().isdisjoint(self.types if queue.types is None else queue.types):
            return queue.types, most
        kinds = routing.routing_rules() if queue.types is None else queue.types
        free = [kind for kind in kinds if self.types.get(kind) != 0]
        return free, min([most, *(self.types.get(kind, most) for kind in free)]) if free else 0

    def note(self, tasks: Iterable[Task]) -> None:
        """Count tasks that were handed out."""
        for task in tasks:
            for places, name in ((self.agents, task.assigned_agent), (self.types, task.type)):
                if name in places:
                    places[name] -= 1


def capacity_of(queues: Collection[Queue]) -> Capacity:
    """Return how many more tasks may run that these queues may hand out.

    What has a limit is locked until the commit, agents before types, in the order of their rows.
    """
    names = {queue.agent for queue in queues}
    pools = [
        name
        for name, agent in routing.agents().items()
        if agent.concurrency_limit is not None and name in names
    ]
    kinds = [
        name
        for name, rule in routing.routing_rules().items()
        if rule.concurrency_limit is not None
        and any(queue.types is None or name in queue.types for queue in queues)
    ]
    return Capacity(
        room(Agent.objects.filter(name__in=pools), "name", "assigned_agent") if pools else {},
        room(RoutingRule.objects.filter(task_type__in=kinds), "task_type", "type") if kinds else {},
    )


def room(limited: QuerySet[Any], key: str, column: str) -> dict[str, int]:
    """Lock these rows; return how many more tasks may run of each that has a limit, by its key.

    column: of a task, that has the key.
    """
    found = limited.select_for_update().order_by("pk").values_list(key, "concurrency_limit")
    limits = {name: limit for name, limit in found if limit is not None}
    running = Task.objects.filter(status=Status.IN_PROGRESS, **{f"{column}__in": list(limits)})
    counted = dict(running.values_list(column).annotate(Count("pk")))
    return {name: max(0, limit - counted.get(name, 0)) for name, limit in limits.items()}
