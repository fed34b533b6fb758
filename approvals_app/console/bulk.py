"""Deciding several requests at once: less is allowed than one by one, so that nobody clicks a flood away."""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget

from approvals_app import services
from approvals_app.errors import MayNotDecide
from approvals_app.models import Approval, Status
from orchestrator_site.core.actors import Actor

MOST = 20
SERVICE: dict[str, Any] = {Status.APPROVED: services.approve, Status.REJECTED: services.reject}


class BulkForm(forms.Form):
    reason = forms.CharField(
        required=False,
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        label="Reason for all",
    )


class BulkRejectForm(BulkForm):
    """One reason for all, insisted on."""

    reason = forms.CharField(
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        label="Reason for all",
        error_messages={"required": "Say why: it is kept with each decision."},
    )


def form_for(verdict: str) -> type[BulkForm]:
    """Return the form that asks for the reason."""
    return BulkRejectForm if verdict == Status.REJECTED else BulkForm


def refusal(chosen: list[Approval], verdict: str, *, by: Actor) -> str:
    """Return why these may not be decided together, or nothing."""
    if len(chosen) > MOST:
        return f"At most {MOST} requests can be decided together. Nothing was decided."
    urgent = [approval.approval_id for approval in chosen if approval.priority == "P0"]
    if verdict == Status.APPROVED and urgent:
        return f"A P0 request is approved on its own, not among others: {', '.join(urgent)}. Nothing was decided."
    for approval in chosen:
        try:
            services.ensure_may_decide(approval, by)
        except MayNotDecide as reason:
            return f"{approval.approval_id}: {reason} Nothing was decided."
    return ""
