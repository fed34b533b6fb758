"""Read requests for sign-off: by id, and page by page."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Q

from approvals_app.errors import UnknownApproval
from approvals_app.models import Approval, ApprovalQuerySet
from orchestrator_site.core import cursors
from orchestrator_site.infra.pagination import fitting
from orchestrator_site.infra.rows import placeholders, select

LARGE = ("decision_reason",)
PENDING, HISTORY = "pending", "history"  # the kinds of cursors
Page = tuple[list[Approval], str | None]


def get_approval(approval_id: str) -> Approval:
    """Return the approval; raise UnknownApproval."""
    try:
        return Approval.objects.get(approval_id=approval_id)
    except Approval.DoesNotExist:
        raise UnknownApproval(approval_id) from None


def find_all(approval_ids: Sequence[str]) -> list[Approval | UnknownApproval]:
    """Return each approval, or that there is none."""
    names = sorted(set(approval_ids))
    rows = select(Approval, f"approval_id IN ({placeholders(len(names))})", names)
    by_id = {row.approval_id: row for row in rows}
    return [by_id.get(name) or UnknownApproval(name) for name in approval_ids]


def pending(*, now: datetime, limit: int, cursor: str = "") -> Page:
    """Return what waits for a decision, most urgent first, and the cursor of the next page.

    Raise BadCursor.
    """
    rows = Approval.objects.inbox(now)
    if cursor:
        priority, created_at, pk = cursors.decode(cursor, PENDING, str, datetime, int)
        later = Q(created_at__gt=created_at) | Q(created_at=created_at, pk__gt=pk)
        rows = rows.filter(
            Q(priority__gt=priority) | Q(priority=priority) & later, priority__gte=priority
        )
    return page(
        rows, limit, lambda row: cursors.encode(PENDING, row.priority, row.created_at, row.pk)
    )


def history(*, limit: int, cursor: str = "") -> Page:
    """Return what was decided, newest first, and the cursor of the next page. Raise BadCursor."""
    rows = Approval.objects.decided().order_by("-decided_at", "-pk").defer("snapshot")
    if cursor:
        decided_at, pk = cursors.decode(cursor, HISTORY, datetime, int)
        earlier = Q(decided_at__lt=decided_at) | Q(decided_at=decided_at, pk__lt=pk)
        rows = rows.filter(earlier, decided_at__lte=decided_at)
    return page(rows, limit, lambda row: cursors.encode(HISTORY, row.decided_at, row.pk))


def page(rows: ApprovalQuerySet, limit: int, place: Any) -> Page:
    """Return the rows that fit, and the place of the last of them if there are more."""
    found, more = fitting(rows, limit=limit, large=LARGE)
    return found, place(found[-1]) if found and more else None
