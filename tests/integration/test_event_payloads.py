"""What is recorded has the payload that docs/events.md says."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from approvals_app.models import Approval, ApprovalPolicy
from approvals_app.services import transitions, verdicts
from events_app.consumers import positions
from events_app.consumers import services as consumers
from events_app.models import Event
from events_app.webhooks import services as webhooks
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import DomainError
from tasks_app.models import Agent, Status, Task
from tasks_app.services import agents as agent_services
from tasks_app.services import claims, leases, lifecycle, retention, retries, routing, sla
from tests.support import decisions
from tests.unit.test_event_catalogue import CATALOGUE

Make = Callable[..., Task]


def payloads() -> list[tuple[str, dict[str, Any]]]:
    return list(Event.objects.order_by("pk").values_list("event_type", "payload"))


def strays() -> list[str]:
    """Return what is recorded otherwise than the catalogue says."""
    found = []
    for kind, payload in payloads():
        fields = CATALOGUE[kind][0]
        needed, known = (
            {name for name in fields if "?" not in name},
            {name.rstrip("?") for name in fields},
        )
        if not needed <= payload.keys() <= known:
            found.append(f"{kind}: {sorted(payload)}")
    return found


def approval_of(task: Task) -> str:
    return Approval.objects.get(task_id=task.task_id, status="pending").approval_id


def test_the_life_of_tasks_is_told_as_the_catalogue_says(
    make_task: Make, dev: Actor, admin: Actor, now: datetime
) -> None:
    late = now + timedelta(hours=2)
    first = make_task(sla_target=60, max_attempts=1)
    make_task(depends_on=[first.task_id])
    [held] = claims.claim(agent="dev_agent", by=dev, now=now)
    leases.release(task_id=held.task_id, attempt=1, by=dev, now=now, reason="Shutting down.")
    sla.check_slas(now=late)
    lifecycle.report_status(task_id=first.task_id, status=Status.IN_PROGRESS, by=dev, now=late)
    lifecycle.report_status(task_id=first.task_id, status=Status.COMPLETED, by=dev, now=late)
    failing = make_task(max_attempts=2)
    claims.claim(agent="dev_agent", by=dev, now=now, limit=9)
    leases.requeue_lost_leases(now=late)
    claims.claim(agent="dev_agent", by=dev, now=late, limit=9)
    leases.requeue_lost_leases(now=late + timedelta(hours=1))
    retries.requeue(task_id=failing.task_id, by=admin, now=late)
    routing.reassign(task_id=failing.task_id, agent="ops_agent", reason="Swap.", by=admin, now=late)
    lifecycle.cancel_task(task_id=failing.task_id, by=admin, now=late, reason="Not needed.")
    make_task()
    Agent.objects.update(active=False)
    routing.agents.forget()
    routing.route_pending(now=late)
    retention.prune_tasks(before=late + timedelta(days=1), by=admin, now=late + timedelta(days=2))

    of_tasks = {kind for kind in CATALOGUE if kind.startswith(("task.", "tasks.", "sla."))}
    assert strays() == []
    assert of_tasks == {kind for kind, _ in payloads()}


def test_decisions_are_told_as_the_catalogue_says(
    make_task: Make, dev: Actor, admin: Actor, now: datetime
) -> None:
    ApprovalPolicy.objects.update(expires_after=60)
    verdicts.policies.forget()
    gated = [make_task(priority="P0") for _ in range(5)]
    decisions.approve(approval_id=approval_of(gated[0]), by=dev, now=now)
    decisions.reject(approval_id=approval_of(gated[1]), by=dev, now=now, reason="No.")
    lifecycle.cancel_task(task_id=gated[2].task_id, by=admin, now=now)
    routing.reassign(task_id=gated[3].task_id, agent="ops_agent", reason="Swap.", by=admin, now=now)
    with pytest.raises(DomainError):
        decisions.approve(
            approval_id=approval_of(gated[4]), by=dev, now=now, shown="something else"
        )
    transitions.expire_approvals(now=now + timedelta(minutes=2))

    assert strays() == []
    assert {kind for kind in CATALOGUE if kind.startswith("approval.")} <= {
        kind for kind, _ in payloads()
    }


def test_agents_rules_and_readers_are_told_as_the_catalogue_says(
    db: None, admin: Actor, now: datetime
) -> None:
    agent_services.change_agent(name="dev_agent", silent_after=60, by=admin, now=now)
    agent_services.change_type(task_type="bugfix", paused=True, by=admin, now=now)
    agent_services.record_heartbeat(routing.known_agent("dev_agent"), by=admin, now=now)
    agent_services.mark_stale_agents(now=now + timedelta(hours=1))
    agent_services.record_heartbeat(
        routing.known_agent("dev_agent"), by=admin, now=now + timedelta(hours=2)
    )
    consumers.create(
        name="writer", start=0, types=[], ack_seconds=60, max_deliveries=3, by=admin, now=now
    )
    positions.reset(name="writer", to="head", by=admin, now=now)
    consumers.delete(name="writer", by=admin, now=now)
    hook = webhooks.subscribe(
        url="https://hooks.example.com/x", types=["task.*"], by=admin, now=now
    )
    about: dict[str, Any] = {"subscription_id": hook.subscription_id, "by": admin, "now": now}
    webhooks.rotate(**about)
    webhooks.resend(**about, since=now)
    webhooks.switch_off(**about, reason="Enough.")
    webhooks.switch_on(**about)
    positions.reset(name=hook.subscription_id, to="oldest", by=admin, now=now)
    webhooks.delete(**about)

    families = ("agent.", "rule.", "subscription.", "consumer.")
    assert strays() == []
    assert {kind for kind in CATALOGUE if kind.startswith(families)} == {
        kind for kind, _ in payloads()
    }
