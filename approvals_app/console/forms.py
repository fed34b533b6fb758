"""The forms of the admin of approvals."""

from typing import Any

from django import forms
from django.http import Http404, HttpRequest
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextInputWidget

from approvals_app import policies
from approvals_app.console import summaries
from approvals_app.models import Approval, ApprovalPolicy, Status
from orchestrator_site.console.accounts import decider_of
from orchestrator_site.console.base import (
    NeedsReasonForm,
    ReasonForm,
    reason_field,
    refusals_as_form_errors,
)
from orchestrator_site.core import times
from orchestrator_site.core.priorities import Priority


class DecisionForm(forms.Form):
    """What both dialogs carry: the digest of what was shown."""

    object_id: str
    request: HttpRequest
    form_before_template = "admin/approvals_app/approval/about.html"
    digest = forms.CharField(max_length=64, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        approval = Approval.objects.filter(approval_id=self.object_id).first()
        if approval is None:
            raise Http404("There is no such request.")
        self.approval = approval
        self.fields["digest"].initial = self.request.GET.get("shown") or self.approval.digest
        self.describe()

    def describe(self) -> None:
        """Set what is shown of the request, and the one that took its place."""
        summaries.describe([self.approval], by=decider_of(self.request), now=times.now())
        superseded = self.approval.status == Status.SUPERSEDED
        self.successor = summaries.successor_of(self.approval) if superseded else None

    @property
    def closed(self) -> bool:
        """Return whether to leave the button out."""
        return not self.approval.shown.decidable

    def refuse(self, sentence: str) -> None:
        """Show the dialog again, with what was typed, and why it was not done."""
        self.approval.refresh_from_db()
        self.describe()
        self.add_error(None, sentence)

    def get_before_template_context(
        self, request: HttpRequest, object_id: Any = None
    ) -> dict[str, Any]:
        return {"approval": self.approval, "successor": self.successor}


class ApproveForm(DecisionForm, ReasonForm):
    pass


class RejectForm(DecisionForm, NeedsReasonForm):
    pass


class ApproveManyForm(forms.Form):
    reason = reason_field("Reason for all")


class RejectManyForm(forms.Form):
    reason = reason_field("Reason for all", insist="Say why: it is kept with each decision.")


class PolicyForm(forms.ModelForm):
    """A policy with its priorities as boxes to tick, and its types as words."""

    priorities = forms.MultipleChoiceField(
        choices=[(name, name) for name in Priority.values],
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="None ticked fits all. Every active policy that matches a task counts; "
        "the strictest wins.",
    )
    types = forms.CharField(
        required=False,
        widget=UnfoldAdminTextInputWidget,
        label="Task types",
        help_text="Such as: deployment, incident. Empty fits all.",
    )

    class Meta:
        model = ApprovalPolicy
        fields = (
            "name",
            "active",
            "priorities",
            "types",
            "decider_role",
            "expires_after",
            "reason",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["types"] = ", ".join(self.initial.get("types") or [])

    def clean_types(self) -> list[str]:
        words = self.cleaned_data["types"].replace(",", " ").split()
        with refusals_as_form_errors():
            policies.ensure_known([word for word in words if word not in self.instance.types])
        return words
