"""Deciding several requests at once."""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget

from approvals_app import rules, services
from approvals_app.models import Approval, Status
from orchestrator_site.core.actors import Actor

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
    sentence = rules.refusal_together(chosen, verdict)
    for approval in chosen:
        if not sentence and approval.unread:
            sentence = f"{approval.approval_id} is too large to be checked here; open it to decide."
    for approval_id, reason in services.refusals(chosen, by).items():
        sentence = sentence or f"{approval_id}: {reason}"
    return sentence and f"{sentence} Nothing was decided."
