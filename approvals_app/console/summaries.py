"""What the console shows of requests: the same facts and warnings wherever one can decide."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models.fields.json import KT
from django.db.models.functions import Left
from django.urls import reverse
from django.utils.safestring import SafeString

from approvals_app import rules
from approvals_app.models import Approval
from approvals_app.services import separation, transitions
from orchestrator_site.console import rendering
from orchestrator_site.core.actors import Actor

TITLES = ("title", "summary", "subject", "headline")
PLACES = ("environment", "env", "target")
MAY_ONLY_LOOK = "Your account may look, not decide."
HEADLINE = 110  # characters


@dataclass(frozen=True)
class Shown:
    """What is said of a request besides its row."""

    priority: str
    about: str  # what is asked, in one line
    agent: str  # whom the task goes to
    payload: Any
    unread: int  # bytes of content that a list did not look through
    unseen: dict[str, int]  # hidden characters in all of its content
    tampered: bool  # the content does not match the digest
    outcome: str  # how it ended, or ""
    refusal: str  # why whoever looks may not decide it, or ""
    buttons: SafeString  # which open the two dialogs, told what is shown

    @property
    def title(self) -> str:
        """Return priority and content for places that take no HTML."""
        return rendering.in_words(f"{self.priority} {self.about}")

    @property
    def decidable(self) -> bool:
        """Return whether to offer the two buttons."""
        return not (self.outcome or self.refusal or self.unread)

    @property
    def warnings(self) -> list[SafeString]:
        """Return what a row of a list warns of, as labels."""
        hidden = ", ".join(self.unseen).lower()
        warnings = [
            (self.unread, "too large to check here", "warning", "Open it to decide."),
            (self.tampered, "does not match its digest", "danger", "Do not decide."),
            (self.unseen, "hidden characters", "danger", hidden),
        ]
        return [rendering.chip(*label) for is_so, *label in warnings if is_so]


def describe(approvals: list[Approval], *, by: Actor | None, now: datetime) -> list[Approval]:
    """Put what is shown on each of these requests; return them.

    by: who looks, None if they may decide nothing. All content is looked through, except what
    `read_small` left unread: of that, only the task's type and agent are known. The number of
    queries does not depend on the number of requests.
    """
    waiting = [approval for approval in approvals if rules.is_open(approval, now)]
    refusals = {} if by is None else separation.refusals([(approval, by) for approval in waiting])
    outlines = outlines_of([one for one in approvals if one.unread])
    for approval in approvals:
        content = outlines[approval.pk] if approval.unread else approval.snapshot
        approval.shown = Shown(
            priority=approval.priority,
            about=headline(content),
            agent=str(content.get("assigned_agent") or "nobody yet"),
            payload=content.get("payload"),
            unread=approval.unread,
            unseen=rendering.unseen_in(content),
            tampered=not approval.unread and rules.digest_of(content) != approval.digest,
            outcome="" if rules.is_open(approval, now) else transitions.outcome_of(approval),
            refusal=MAY_ONLY_LOOK if by is None else refusals.get(approval.approval_id, ""),
            buttons=buttons_of(approval),
        )
    return approvals


def outlines_of(approvals: list[Approval]) -> dict[int, dict[str, Any]]:
    """Return by key what a list shows of requests that are too large to be read: type and agent."""
    names = {name: Left(KT(f"snapshot__{name}"), HEADLINE) for name in ("type", "assigned_agent")}
    rows = Approval.objects.filter(pk__in=[approval.pk for approval in approvals])
    outlines: dict[int, dict[str, Any]] = {approval.pk: {} for approval in approvals}
    texts: Any = rows.values("pk", **names)
    return outlines | {row.pop("pk"): row for row in texts}


def buttons_of(approval: Approval) -> SafeString:
    """Return the buttons that open the two dialogs, which are told the digest of what is shown."""
    page = f"{reverse('admin:approvals_app_approval_changelist')}{approval.approval_id}"
    return rendering.joined(
        rendering.dialog_button(f"{page}/{verb}/?shown={approval.digest}", label, f"button-{verb}")
        for verb, label in {"approve": "Approve", "reject": "Reject"}.items()
    )


def headline(content: dict[str, Any]) -> str:
    """Return what a task is about in one line, such as `deployment · shop 1.4.1 → production`."""
    payload = content.get("payload")
    fields = payload if isinstance(payload, dict) else {}
    [title] = words_in(fields, TITLES)[:1] or [" ".join(words_in(fields, ("service", "version")))]
    about = " · ".join(filter(None, (str(content.get("type", "?")), title)))
    line = " → ".join([about, *words_in(fields, PLACES)[:1]])
    return rendering.cut(" ".join(line.split()), HEADLINE)


def words_in(fields: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    """Return those of the named fields of a payload that are words or numbers, cut short."""
    values = [fields.get(name) for name in names]
    plain = [one for one in values if type(one) in (str, int, float)]
    return [str(one)[: HEADLINE + 1] for one in plain if one != ""]


def next_for(by: Actor, *, now: datetime) -> Approval | None:
    """Return the most urgent request that waits for this actor."""
    mode = settings.ORCHESTRATOR_APPROVAL_MODE
    waiting = Approval.objects.pending().live(now).decidable_by(by, mode=mode)
    return waiting.order_by("priority", "created_at", "pk").first()


def successor_of(approval: Approval) -> Approval | None:
    """Return the newest request for the same task, if it is a later one."""
    later = Approval.objects.filter(task_id=approval.task_id, pk__gt=approval.pk)
    return later.order_by("-pk").defer("snapshot").first()
