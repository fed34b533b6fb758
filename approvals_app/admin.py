"""The approval console: an inbox of what waits for a person, and the policies that ask."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextInputWidget

from approvals_app import policies, services
from approvals_app.console import bulk, summaries
from approvals_app.console.filters import (
    OF_DECISIONS,
    DecidedWithin,
    InState,
    OfDecider,
    OfPolicy,
    OfRequester,
)
from approvals_app.models import Approval, ApprovalPolicy, Status
from approvals_app.rules import MOST_TOGETHER
from events_app.admin import ConfiguredAdmin, timeline_of
from orchestrator_site.console import rendering
from orchestrator_site.console.accounts import DECIDE, actor_of, decider_of
from orchestrator_site.console.base import (
    NeedsReasonForm,
    ReadOnlyAdmin,
    ReasonForm,
    close_dialog,
    page_of,
)
from orchestrator_site.console.dialogs import dialog_action
from orchestrator_site.console.filters import OfPriority
from orchestrator_site.console.large_values import read_small
from orchestrator_site.core import times
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import DomainError
from orchestrator_site.core.priorities import Priority

TABS = {"": "Waiting", "decided": "Decided", "all": "All"}


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
        self.look()

    def look(self) -> None:
        """Find out what to show of the request, and whether there is anything left to decide."""
        summaries.look_at([self.approval], by=decider_of(self.request), now=times.now())
        self.successor = (
            summaries.successor_of(self.approval)
            if self.approval.status == Status.SUPERSEDED
            else None
        )

    @property
    def closed(self) -> bool:
        """Return whether to leave the button out."""
        return not self.approval.shown.decidable

    def refuse(self, sentence: str) -> None:
        """Show the dialog again, with what was typed, and why it was not done."""
        self.approval.refresh_from_db()
        self.look()
        self.add_error(None, sentence)

    def get_before_template_context(
        self, request: HttpRequest, object_id: Any = None
    ) -> dict[str, Any]:
        return {"approval": self.approval, "successor": self.successor}


class ApproveForm(DecisionForm, ReasonForm):
    """Approve, with a reason or without."""

    button_class = "button-approve"


class RejectForm(DecisionForm, NeedsReasonForm):
    button_class = "button-stop"


@admin.register(Approval)
class ApprovalAdmin(ReadOnlyAdmin):
    """The inbox: pending first, the most urgent on top. Decisions go through the services, like those of the API."""

    public_id = "approval_id"
    large_fields = ("snapshot",)
    exact_search = ("approval_id", "task_id", "trace_id", "requested_by", "decided_by")
    search_help_text = "Exact id, trace, who asked or decided: in any tab"
    list_filter = (InState, OfPriority, OfPolicy, OfRequester, OfDecider, DecidedWithin)
    list_before_template = "admin/approvals_app/approval/tabs.html"
    list_display = ("urgency", "subject", "asked", "deadline", "waiting")
    decided_display = ("urgency", "subject", "asked", "state", "decided", "decider", "said")
    list_display_links = ("subject",)
    change_form_template = "admin/approvals_app/approval/page.html"
    actions = ("approve_selected", "reject_selected")
    list_disable_select_all = True
    actions_detail = ("approve", "reject")

    def has_decide_permission(self, request: HttpRequest, obj: object = None) -> bool:
        allowed = bool(request.user.has_perm(DECIDE))
        if (
            not allowed and request.method == "POST" and isinstance(obj, str)
        ):  # a dialog was sent all the same
            self.note_refused(
                request, [obj], "reject" if request.path.endswith("/reject/") else "approve"
            )
        return allowed

    def note_refused(self, request: HttpRequest, approval_ids: list[str], verb: str) -> None:
        """Write down that an account without the permission tried to decide."""
        verdict = Status.REJECTED if verb.startswith("reject") else Status.APPROVED
        for approval_id in approval_ids:
            services.refuse_role(
                approval_id=approval_id,
                verdict=verdict,
                by=actor_of(request),
                now=times.now(),
                reason="The account does not have the permission to decide.",
            )

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        if request.GET.get("status") == "decided":
            return self.decided_display
        shown = self.list_display if is_inbox(request) else self.decided_display
        return (*shown, "decide") if self.has_decide_permission(request) else shown

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return super().get_actions(request) if is_inbox(request) else {}

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Return the most urgent and then oldest first; of decisions the newest; else what was asked last."""
        if is_inbox(request):
            return ("priority", "created_at", "pk")
        of_decisions = OF_DECISIONS & set(request.GET) or request.GET.get("status", "all") not in (
            "",
            "all",
        )
        return ("-decided_at", "-id") if of_decisions else ("-id",)

    def holds(self, name: str, term: str) -> Q:
        if name == "decided_by":
            return Q(decided_by=term, decided_at__isnull=False)
        return super().holds(name, term)

    @display(description="Priority", ordering="priority")
    def urgency(self, approval: Approval) -> SafeString:
        return rendering.chip(approval.priority)

    @display(description="Request")
    def subject(self, approval: Approval) -> SafeString:
        shown = approval.shown
        agent = rendering.faint(f"for {shown.agent}")
        title = format_html("<b>{}</b> {}", rendering.visible(shown.about), agent)
        summary = rendering.mono(rendering.summary(shown.payload, unread=shown.unread))
        return rendering.stacked(title, summary, *dangers(approval))

    @display(description="Asked by", ordering="requested_by")
    def asked(self, approval: Approval) -> SafeString:
        return rendering.stacked(
            rendering.name(approval.requested_by),
            rendering.credential(approval.requester_credential),
        )

    @display(description="Deadline", ordering="due_at")
    def deadline(self, approval: Approval) -> SafeString:
        if approval.status != Status.PENDING or not (approval.due_at or approval.expires_at):
            return rendering.faint("–")
        now = times.now()
        lines = {"due": approval.due_at, "expires": approval.expires_at}
        said = [
            format_html('<span class="name">{} {}</span>', word, rendering.deadline(when, now))
            for word, when in lines.items()
            if when
        ]
        return rendering.stacked(said[0], *said[1:])

    @display(description="Waiting", ordering="created_at")
    def waiting(self, approval: Approval) -> SafeString:
        return rendering.visible(rendering.span(waited(approval)))

    @display(description="Status")
    def state(self, approval: Approval) -> SafeString:
        return rendering.chip(approval.status)

    @display(description="Decided")
    def decided(self, approval: Approval) -> SafeString:
        return (
            rendering.when(approval.decided_at, times.now())
            if approval.decided_at
            else rendering.faint("–")
        )

    @display(description="By")
    def decider(self, approval: Approval) -> SafeString:
        if not approval.decided_by:
            return rendering.faint("–")
        name, door = (
            rendering.name(approval.decided_by),
            rendering.faint(f"by {approval.door}" if approval.door else ""),
        )
        if approval.status not in (Status.APPROVED, Status.REJECTED):
            return rendering.stacked(name, door)
        return rendering.stacked(name, rendering.credential(approval.decider_credential), door)

    @display(description="Reason")
    def said(self, approval: Approval) -> SafeString:
        why = approval.decision_reason
        return format_html(
            '<span class="wrap">{}</span>',
            rendering.visible(why if len(why) <= 160 else why[:159] + "…"),
        )

    @display(description="Decide")
    def decide(self, approval: Approval) -> SafeString:
        if approval.shown.outcome:
            return rendering.faint("")
        if approval.shown.refusal:
            return format_html('<span class="refusal">{}</span>', approval.shown.refusal)
        if approval.shown.unread:
            return format_html(
                '<a class="button" href="{}">Open</a>',
                page_of("approvals_app.approval", approval.approval_id),
            )
        return format_html('<span class="buttons">{}</span>', approval.shown.buttons)

    @dialog_action(
        "Approve",
        permission="decide",
        title="Approve this request?",
        lead="The task goes to its agent. A decision is final.",
        form=ApproveForm,
        variant=ActionVariant.SUCCESS,
    )
    def approve(self, request: HttpRequest, form: ApproveForm, object_id: str) -> HttpResponse:
        return self.settle(request, form, services.approve, "Approved")

    @dialog_action(
        "Reject",
        permission="decide",
        title="Reject this request?",
        lead="The task is cancelled. A decision is final.",
        form=RejectForm,
        variant=ActionVariant.DANGER,
    )
    def reject(self, request: HttpRequest, form: RejectForm, object_id: str) -> HttpResponse:
        return self.settle(request, form, services.reject, "Rejected")

    def settle(self, request: HttpRequest, form: Any, decide: Any, done: str) -> HttpResponse:
        """Decide one request if it still shows what was shown; if that is refused, keep what was typed."""
        approval, by = form.approval, actor_of(request)
        asked = {"reason": form.cleaned_data["reason"], "shown": form.cleaned_data["digest"]}
        try:
            decided = decide(approval_id=approval.approval_id, by=by, now=times.now(), **asked)
        except DomainError as refusal:
            form.refuse(str(refusal))
            dialog = {"approve": self.approve, "reject": self.reject}[
                request.resolver_match.url_name.rsplit("_", 1)[1]  # type: ignore[union-attr]
            ]
            context = {
                "dialog": dialog.dialog,
                "form": form,
                "form_submit_text": dialog.dialog["form_submit_text"],
            }
            return TemplateResponse(request, "unfold/helpers/dialog.html", context)
        messages.success(
            request, outcome_and_next(approval, f"{done} already" if decided.repeated else done, by)
        )
        return close_dialog(request, page_of("approvals_app.approval", approval.approval_id))

    @admin.action(description="Approve the selected requests", permissions=["decide"])
    def approve_selected(
        self, request: HttpRequest, queryset: QuerySet[Approval]
    ) -> HttpResponse | None:
        return self.settle_selected(request, Status.APPROVED)

    @admin.action(description="Reject the selected requests", permissions=["decide"])
    def reject_selected(
        self, request: HttpRequest, queryset: QuerySet[Approval]
    ) -> HttpResponse | None:
        return self.settle_selected(request, Status.REJECTED)

    def settle_selected(self, request: HttpRequest, verdict: str) -> HttpResponse | None:
        """Ask once more, then decide row by row; refuse the lot if one of them may not be decided so.

        The rows are those that were ticked: the list's own would leave out what was decided meanwhile.
        """
        ticked = Approval.objects.filter(pk__in=request.POST.getlist(ACTION_CHECKBOX_NAME))
        rows = ticked.order_by("priority", "created_at", "pk").defer("snapshot")
        chosen = list(rows[: MOST_TOGETHER + 1])
        read_small(chosen, "snapshot")
        refusal = bulk.refusal(chosen, verdict, by=actor_of(request))
        if refusal:
            messages.warning(request, refusal)
            return None
        form = bulk.form_for(verdict)(request.POST if "confirmed" in request.POST else None)
        if not form.is_valid():
            return self.confirm(request, chosen, verdict, form)
        done, by, reason = 0, actor_of(request), form.cleaned_data["reason"]
        for approval in chosen:
            try:
                bulk.SERVICE[verdict](
                    approval_id=approval.approval_id, by=by, now=times.now(), reason=reason
                )
                done += 1
            except DomainError as refused:
                messages.warning(request, str(refused))
        if done:
            messages.success(request, f"{done} request{'' if done == 1 else 's'} {verdict}.")
        return HttpResponseRedirect(request.get_full_path())

    def confirm(
        self, request: HttpRequest, chosen: list[Approval], verdict: str, form: forms.Form
    ) -> TemplateResponse:
        """Show what would be decided."""
        word = "Approve" if verdict == Status.APPROVED else "Reject"
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"{word} {len(chosen)} request{'s' if len(chosen) > 1 else ''}?",
            "word": word,
            "approvals": summaries.look_at(chosen, by=decider_of(request), now=times.now()),
            "form": form,
            "action": request.POST["action"],
        }
        return TemplateResponse(request, "admin/approvals_app/approval/selected.html", context)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        ticked = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if not all(row.isdecimal() and len(row) < 19 for row in ticked):
            raise BadRequest("Rows are numbers.")
        if request.method == "POST" and not self.has_decide_permission(request):
            rows = Approval.objects.filter(pk__in=ticked[:MOST_TOGETHER]).values_list(
                "approval_id", flat=True
            )
            self.note_refused(request, list(rows), request.POST.get("action", ""))
            raise PermissionDenied
        shown = request.GET.get("status", "")
        tabs = [
            {
                "name": name,
                "query": f"?status={key}" if key else "?",
                "on": key == shown and (bool(key) or is_inbox(request)),
            }
            for key, name in TABS.items()
        ]
        title = "Decisions" if shown == "decided" else "Approvals"
        return super().changelist_view(
            request, {"title": title, "tabs": tabs, **(extra_context or {})}
        )

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        page = super().get_changelist_instance(request)
        summaries.look_at(list(page.result_list), by=decider_of(request), now=times.now())
        return page

    def page_context(self, request: HttpRequest, row: Approval) -> dict[str, Any]:
        return describe(row, by=decider_of(request))


def is_inbox(request: HttpRequest) -> bool:
    """Return whether a list shows what waits, and nothing else."""
    return not (
        request.GET.get("status")
        or request.GET.get("q", "").strip()
        or OF_DECISIONS & set(request.GET)
    )


def waited(approval: Approval) -> float:
    """Return how many seconds a request waits, or waited."""
    return ((approval.decided_at or times.now()) - approval.created_at).total_seconds()


def dangers(approval: Approval) -> list[SafeString]:
    """Return warnings for a row: its content holds hidden characters, or is not what was asked."""
    found = []
    if approval.shown.unread:
        found.append(rendering.chip("too large to check here", "warning", "Open it to decide."))
    if approval.shown.tampered:
        found.append(rendering.chip("does not match its digest", "danger", "Do not decide."))
    if approval.shown.unseen:
        found.append(
            rendering.chip("hidden characters", "danger", ", ".join(approval.shown.unseen).lower())
        )
    return found


def outcome_and_next(approval: Approval, done: str, by: Actor) -> SafeString:
    """Return what was decided, and where to go from here."""
    inbox = reverse("admin:approvals_app_approval_changelist")
    said = format_html(
        "{}: {}.",
        done,
        rendering.visible(f"{approval.priority} {summaries.headline(approval.snapshot)}"),
    )
    if (after := summaries.next_for(by, now=times.now())) is None:
        return format_html(
            '{} Nothing else waits for you. <a class="link" href="{}">Approvals</a>', said, inbox
        )
    return format_html(
        '{} Next: <a class="link" href="{}">{}</a> · <a class="link" href="{}">all that waits</a>',
        said,
        page_of("approvals_app.approval", after.approval_id),
        rendering.visible(f"{after.priority} {summaries.headline(after.snapshot)}"),
        inbox,
    )


def describe(approval: Approval, *, by: Actor | None) -> dict[str, Any]:
    """Return what the page of a request shows besides its row."""
    summaries.look_at([approval], by=by, now=times.now())
    shown = approval.snapshot
    apart = ("task_id", "type", "payload", "priority", "assigned_agent", "created_by", "metadata")
    return {
        "title": approval.shown.title,
        "subtitle": None,
        "original": approval,
        "successor": summaries.successor_of(approval),
        "content": shown,
        "rest": {
            name: value
            for name, value in shown.items()
            if name not in apart and value not in (None, "", {})
        },
        "waited": waited(approval),
        "timeline": timeline_of(approval.task_id),
    }


class PolicyForm(forms.ModelForm):
    """Priorities as boxes to tick, types as words."""

    priorities = forms.MultipleChoiceField(
        choices=[(name, name) for name in Priority.values],
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="None ticked fits all. Every active policy that matches a task counts; the strictest wins.",
    )
    types = forms.CharField(
        required=False,
        widget=UnfoldAdminTextInputWidget,
        label="Task types",
        help_text="Such as: deployment, incident. Empty fits all.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["types"] = ", ".join(self.initial.get("types") or [])

    def clean_types(self) -> list[str]:
        words = self.cleaned_data["types"].replace(",", " ").split()
        try:
            policies.ensure_known([word for word in words if word not in self.instance.types])
        except DomainError as refusal:
            raise forms.ValidationError(str(refusal)) from None
        return words

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


@admin.register(ApprovalPolicy)
class ApprovalPolicyAdmin(ConfiguredAdmin):
    """Which tasks need sign-off. All active ones that match count, and the strictest wins."""

    configuration = policies.policies
    form = PolicyForm
    list_display = ("name", "active", "fits", "decider_role", "expiry")
    ordering = ("name",)

    @display(description="Fits")
    def fits(self, policy: ApprovalPolicy) -> SafeString:
        words = [*policy.priorities, *policy.types] or ["every task"]
        return format_html(
            '<span class="below">{}</span>',
            rendering.joined(rendering.chip(word) for word in words),
        )

    @display(description="Expires after")
    def expiry(self, policy: ApprovalPolicy) -> str:
        return rendering.span(policy.expires_after) if policy.expires_after else "never"
