"""The first page of the console, and the menu. Their cost does not grow with the tables."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from approvals_app.console import summaries
from approvals_app.models import Approval, ApprovalQuerySet
from events_app.models import Event
from orchestrator_site.console.accounts import decider_of
from orchestrator_site.console.base import capped_count
from orchestrator_site.console.large_values import read_small
from orchestrator_site.core import times
from orchestrator_site.core.actors import Actor
from tasks_app.models import OPEN, Agent, Status, Task
from tasks_app.services.statistics import counts

URGENT, NEWEST, AGENTS = 5, 10, 12


def fill(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add to the first page what the account may see."""
    user = request.user
    context["title"] = "Overview"
    if user.has_perm("approvals_app.view_approval"):
        by = decider_of(request)
        context |= {"inbox": inbox(by), "may_decide": by is not None}
    if user.has_perm("tasks_app.view_task"):
        context |= work()
    if user.has_perm("tasks_app.view_agent"):
        context["agents"] = agents()
    if user.has_perm("events_app.view_event"):
        context["latest"] = list(Event.objects.defer("payload").order_by("-id")[:NEWEST])
    return context


def waiting_for(by: Actor | None) -> ApprovalQuerySet:
    """Return what waits for this actor, or for anybody if they may decide nothing."""
    pending, mode = Approval.objects.pending(), settings.ORCHESTRATOR_APPROVAL_MODE
    return pending if by is None else pending.decidable_by(by, mode=mode)


def inbox(by: Actor | None) -> dict[str, Any]:
    """Return how much waits for whoever looks, for how long, and the most urgent of all."""
    pending, now = waiting_for(by), times.now()
    oldest = pending.order_by("created_at").values_list("created_at", flat=True).first()
    most_urgent = Approval.objects.pending().order_by("priority", "created_at").defer("snapshot")
    urgent = list(most_urgent[:URGENT])
    read_small(urgent, "snapshot")
    return {
        "waiting": capped_count(pending),
        "oldest": (now - oldest).total_seconds() if oldest else None,
        "urgent": summaries.describe(urgent, by=by, now=now),
    }


def work() -> dict[str, Any]:
    """Return how many tasks stand where, as figures and as bars in percent of the longest."""
    number = counts()
    longest = max(1, *(number[status] for status in Status.values))
    bars = [
        {"status": status, "number": number[status], "percent": -(-100 * number[status] // longest)}
        for status in Status.values
    ]
    return {
        "counted": number | {"open": sum(number[status] for status in OPEN)},
        "bars": bars,
        "total": sum(number[status] for status in Status.values),
    }


def agents() -> list[dict[str, Any]]:
    """Return the agents with what they do and what waits for them."""
    rows = []
    for agent in Agent.objects.order_by("name")[:AGENTS]:
        tasks = Task.objects.filter(assigned_agent=agent.name)
        running = capped_count(tasks.filter(status=Status.IN_PROGRESS))
        waiting = capped_count(tasks.filter(status=Status.ASSIGNED))
        rows.append({"agent": agent, "running": running, "waiting": waiting})
    return rows


def pending_badge(request: HttpRequest) -> str:
    """Return how many requests wait for whoever is signed in, for the sidebar."""
    number = capped_count(waiting_for(decider_of(request)))
    return "" if number == "0" else number


def environment(request: HttpRequest) -> list[str] | None:
    """Return the label of a server that is not for production."""
    return ["Development", "warning"] if settings.DEVELOPMENT else None


def in_inbox(request: HttpRequest) -> bool:
    """Return whether the page shown belongs to the inbox."""
    return "/approvals_app/approval/" in request.path and not in_history(request)


def in_history(request: HttpRequest) -> bool:
    """Return whether the page shown is the list of decisions."""
    return request.path.endswith("/approvals_app/approval/") and bool(request.GET.get("status"))


def is_superuser(request: HttpRequest) -> bool:
    """Return whether the account manages accounts."""
    return bool(request.user.is_superuser)
