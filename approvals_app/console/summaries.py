"""What the console shows of requests wherever one can decide: one look, the same warnings on every page."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings

from approvals_app import rules, services
from approvals_app.models import Approval, Status
from orchestrator_site.console import rendering
from orchestrator_site.core.actors import Actor

TITLES = ("title", "summary", "subject", "headline")
PLACES = ("environment", "env", "target")
LOOKERS_ON = "Your account may look, not decide."
HEADLINE = 110  # characters


@dataclass(frozen=True)
class Shown:
    """What is said of a request besides its row."""

    priority: str
    about: str  # what is asked, in one line
    unseen: dict[str, int]  # hidden characters in all of its content
    tampered: bool  # the content does not match the digest
    outcome: str  # how it ended, or ""
    refusal: str  # why whoever looks may not decide it, or ""

    @property
    def title(self) -> str:
        """Return priority and content for places that take no HTML."""
        return rendering.in_words(f"{self.priority} {self.about}")

    @property
    def decidable(self) -> bool:
        """Return whether to offer the two buttons."""
        return not (self.outcome or self.refusal)


def look_at(approvals: list[Approval], *, by: Actor | None, now: datetime) -> list[Approval]:
    """Put what is shown on each of these requests; return them. by: who looks, None if they may decide nothing.

    The whole content is looked through. Asks the database the same number of times however many there are.
    """
    refusals = (
        {} if by is None else services.refusals([one for one in approvals if is_open(one, now)], by)
    )
    for approval in approvals:
        approval.shown = Shown(
            priority=approval.priority,
            about=headline(approval.snapshot),
            unseen=rendering.unseen_in(approval.snapshot),
            tampered=rules.digest_of(approval.snapshot) != approval.digest,
            outcome="" if is_open(approval, now) else services.outcome_of(approval),
            refusal=LOOKERS_ON if by is None else refusals.get(approval.approval_id, ""),
        )
    return approvals


def is_open(approval: Approval, now: datetime) -> bool:
    """Return whether a request can still be decided."""
    return approval.status == Status.PENDING and (
        approval.expires_at is None or approval.expires_at > now
    )


def headline(content: dict[str, Any]) -> str:
    """Return what a task is about in one line, such as `deployment · shop 1.4.1 → production`."""
    payload = content.get("payload")
    fields = payload if isinstance(payload, dict) else {}
    about = first_of(fields, TITLES) or " ".join(
        filter(None, (word(fields, "service"), word(fields, "version")))
    )
    place = first_of(fields, PLACES)
    parts = " · ".join(filter(None, (str(content.get("type", "?")), about)))
    return rendering.cut(
        " ".join(f"{parts} → {place}".split() if place else parts.split()), HEADLINE
    )


def first_of(fields: dict[str, Any], names: tuple[str, ...]) -> str:
    """Return the first of these fields that says something."""
    return next(filter(None, (word(fields, name) for name in names)), "")


def word(fields: dict[str, Any], name: str) -> str:
    """Return a field of a payload if it is a word or a number."""
    value = fields.get(name)
    return (
        str(value)[: HEADLINE + 1]
        if isinstance(value, str | int | float) and not isinstance(value, bool)
        else ""
    )


def next_for(by: Actor, *, now: datetime) -> Approval | None:
    """Return the most urgent request that waits for this actor."""
    waiting = (
        Approval.objects.pending()
        .live(now)
        .decidable_by(by, mode=settings.ORCHESTRATOR_APPROVAL_MODE)
    )
    return next(iter(waiting.order_by("priority", "created_at", "pk")[:1]), None)


def successor_of(approval: Approval) -> Approval | None:
    """Return the newest request for the same task, if it is a later one."""
    later = Approval.objects.filter(task_id=approval.task_id, pk__gt=approval.pk)
    return next(iter(later.order_by("-pk").defer("snapshot")[:1]), None)
