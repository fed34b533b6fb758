"""Tell whether sign-off was given, and what the policies ask for."""

from collections.abc import Collection
from typing import Any

from approvals_app import rules
from approvals_app.models import Approval, ApprovalPolicy, Status
from orchestrator_site.infra import rows
from orchestrator_site.infra.cached_rows import CachedRows

policies = CachedRows(
    ["approvals_app.ApprovalPolicy"],
    lambda: list(ApprovalPolicy.objects.filter(active=True).order_by("name")),
)


def approvals_named(approval_ids: Collection[str]) -> dict[str, Approval]:
    """Return the requests that exist, by their ids, without what they show; one query for all."""
    if not approval_ids:
        return {}
    names = sorted(approval_ids)
    where = f"approval_id IN ({rows.placeholders(len(names))})"
    found = rows.select(Approval, where, names, without=("snapshot",))
    return {approval.approval_id: approval for approval in found}


def verdict(
    approval: Approval | None,
    *,
    approval_id: str,
    content: dict[str, Any],
    demand: rules.Demand | None = None,
) -> rules.Granted | rules.Refused:
    """Return whether exactly this content was approved, on terms as strict as `demand`.

    approval: the one with this id, as it was read in the caller's transaction; None if there is
    none.
    """
    status = approval.status if approval else "missing"
    if approval is None or status != Status.APPROVED:
        reason = f"The task needs sign-off: {approval_id} is {status}."
        return rules.Refused(reason, status, approval_id)
    if approval.digest != rules.digest_of(content):
        change = f"The task has changed since {approval_id} was approved"
    elif demand and not rules.meets(approval, demand):
        change = f"Policy asks for more than when {approval_id} was approved"
    else:
        return rules.Granted()
    return rules.Refused(f"{change}; it needs a new decision.", status, approval_id, ask_anew=True)
