"""The approval console: an inbox of what waits for a person, and the policies that ask."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from approvals_app import policies, rules
from approvals_app.console import summaries
from approvals_app.console.filters import (
    OF_DECISIONS,
    DecidedWithin,
    InState,
    OfDecider,
    OfPolicy,
    OfRequester,
)
from approvals_app.console.forms import (
    ApproveForm,
    ApproveManyForm,
    PolicyForm,
    RejectForm,
    RejectManyForm,
)
from approvals_app.models import Approval, ApprovalPolicy, Status
from approvals_app.services import separation
from approvals_app.services.decisions import Decision, decide, decide_all, refuse_role
from events_app.admin import ConfiguredAdmin, timeline_of
from orchestrator_site.console import rendering
from orchestrator_site.console.accounts import DECIDE, actor_of, decider_of
from orchestrator_site.console.base import ReadOnlyAdmin, close_dialog, page_of, selected_rows
from orchestrator_site.console.columns import column, priority
from orchestrator_site.console.dialogs import dialog_action
from orchestrator_site.console.filters import OfPriority
from orchestrator_site.console.large_values import read_small
from orchestrator_site.core import times
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import DomainError

TABS = {"": "Waiting", "decided": "Decided", "all": "All"}
SHOWN_APART = ("task_id", "type", "payload", "priority", "assigned_agent", "created_by", "metadata")
VERDICTS = {"approve": Status.APPROVED, "reject": Status.REJECTED}
MANY_FORMS = {"approve": ApproveManyForm, "reject": RejectManyForm}


@admin.register(Approval)
class ApprovalAdmin(ReadOnlyAdmin):
    """The inbox: pending first, the most urgent on top. Decisions go through the services."""

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
    nothing = "Nothing waits for a decision"
    actions_detail = ("approve", "reject")

    def has_decide_permission(self, request: HttpRequest, obj: object = None) -> bool:
        allowed = bool(request.user.has_perm(DECIDE))
        if not allowed and request.method == "POST" and isinstance(obj, str):
            verb = "reject" if request.path.endswith("/reject/") else "approve"
            note_refused(request, [obj], verb)  # a dialog was sent all the same
        return allowed

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        if request.GET.get("status") == "decided":
            return self.decided_display
        shown = self.list_display if is_inbox(request) else self.decided_display
        return (*shown, "decide") if self.has_decide_permission(request) else shown

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return super().get_actions(request) if is_inbox(request) else {}

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Return the most urgent, then oldest first; of decisions the newest; else the newest."""
        if is_inbox(request):
            return ("priority", "created_at", "pk")
        is_of_all = request.GET.get("status", "all") in ("", "all")
        is_of_decisions = OF_DECISIONS & set(request.GET) or not is_of_all
        return ("-decided_at", "-id") if is_of_decisions else ("-id",)

    def condition_on(self, name: str, term: str) -> Q:
        if name == "decided_by":
            return Q(decided_by=term, decided_at__isnull=False)
        return super().condition_on(name, term)

    urgency = priority()
    waiting = column("Waiting", lambda row: rendering.span(waited(row)), "created_at")
    state = column("Status", lambda row: rendering.chip(row.status))

    @display(description="Request")
    def subject(self, approval: Approval) -> SafeString:
        shown = approval.shown
        agent = rendering.name(f"for {shown.agent}")
        title = format_html(
            '<b>{}</b> <span class="faint">{}</span>', rendering.visible(shown.about), agent
        )
        summary = rendering.mono(rendering.summary(shown.payload, unread=shown.unread))
        return rendering.stacked(title, summary, *shown.warnings)

    @display(description="Asked by", ordering="requested_by")
    def asked(self, approval: Approval) -> SafeString:
        proof = rendering.credential(approval.requester_credential)
        return rendering.stacked(rendering.name(approval.requested_by), proof)

    @display(description="Deadline", ordering="due_at")
    def deadline(self, approval: Approval) -> SafeString:
        now, ends = times.now(), {"due": approval.due_at, "expires": approval.expires_at}
        lines = [
            format_html('<span class="name">{} {}</span>', word, rendering.deadline(end, now))
            for word, end in ends.items()
            if end and approval.status == Status.PENDING
        ]
        return rendering.stacked(*lines) if lines else rendering.faint("–")

    @display(description="Decided")
    def decided(self, approval: Approval) -> SafeString:
        moment = approval.decided_at
        return rendering.when(moment, times.now()) if moment else rendering.faint("–")

    @display(description="By")
    def decider(self, approval: Approval) -> SafeString:
        if not approval.decided_by:
            return rendering.faint("–")
        lines = [rendering.name(approval.decided_by)]
        if approval.status in VERDICTS.values():
            lines.append(rendering.credential(approval.decider_credential))
        return rendering.stacked(*lines, rendering.faint(approval.door and f"by {approval.door}"))

    @display(description="Reason")
    def said(self, approval: Approval) -> SafeString:
        reason = rendering.visible(rendering.cut(approval.decision_reason, 160))
        return format_html('<span class="wrap">{}</span>', reason)

    @display(description="Decide")
    def decide(self, approval: Approval) -> SafeString:
        shown = approval.shown
        if shown.outcome:
            return rendering.faint("")
        if shown.refusal:
            return format_html('<span class="refusal">{}</span>', shown.refusal)
        if shown.unread:
            page = page_of("approvals_app.approval", approval.approval_id)
            buttons = format_html('<a class="button" href="{}">Open</a>', page)
        else:
            buttons = shown.buttons
        return format_html('<span class="buttons">{}</span>', buttons)

    @dialog_action(
        "Approve",
        permission="decide",
        title="Approve this request?",
        lead="The task goes to its agent. A decision is final.",
        form=ApproveForm,
        style="button-approve",
    )
    def approve(self, request: HttpRequest, form: ApproveForm, object_id: str) -> HttpResponse:
        return self.decide_one(request, form, "approve")

    @dialog_action(
        "Reject",
        permission="decide",
        title="Reject this request?",
        lead="The task is cancelled. A decision is final.",
        form=RejectForm,
        style="button-stop",
    )
    def reject(self, request: HttpRequest, form: RejectForm, object_id: str) -> HttpResponse:
        return self.decide_one(request, form, "reject")

    def decide_one(self, request: HttpRequest, form: Any, verb: str) -> HttpResponse:
        """Decide a request if it still is what was shown; after a refusal, keep what was typed."""
        approval_id, by = form.approval.approval_id, actor_of(request)
        reason, shown = form.cleaned_data["reason"], form.cleaned_data["digest"]
        try:
            decided = decide(Decision(approval_id, VERDICTS[verb], by, times.now(), reason, shown))
        except DomainError as refusal:
            form.refuse(str(refusal))
            context = {"form": form, "dialog": getattr(self, verb).dialog}
            return TemplateResponse(request, "unfold/helpers/dialog.html", context)
        messages.success(request, outcome_and_next(decided, by))
        return close_dialog(request, page_of("approvals_app.approval", approval_id))

    @admin.action(description="Approve the selected requests", permissions=["decide"])
    def approve_selected(
        self, request: HttpRequest, queryset: QuerySet[Approval]
    ) -> HttpResponse | None:
        return self.decide_selected(request, "approve")

    @admin.action(description="Reject the selected requests", permissions=["decide"])
    def reject_selected(
        self, request: HttpRequest, queryset: QuerySet[Approval]
    ) -> HttpResponse | None:
        return self.decide_selected(request, "reject")

    def decide_selected(self, request: HttpRequest, verb: str) -> HttpResponse | None:
        """Ask once more, then decide row by row; none if one of them may not be decided so.

        The rows are those that were ticked: the list's would lack what was decided meanwhile.
        """
        ticked = Approval.objects.filter(pk__in=selected_rows(request))
        rows = ticked.order_by("priority", "created_at", "pk").defer("snapshot")
        chosen = list(rows[: rules.MOST_TOGETHER + 1])
        read_small(chosen, "snapshot")
        if sentence := refusal_together(chosen, verb, by=actor_of(request)):
            messages.warning(request, f"{sentence} Nothing was decided.")
            return None
        form = MANY_FORMS[verb](request.POST if "confirmed" in request.POST else None)
        if not form.is_valid():
            word = verb.capitalize()
            context = {
                "title": f"{word} {len(chosen)} request{'s' if len(chosen) > 1 else ''}?",
                "word": word,
                "approvals": summaries.describe(chosen, by=decider_of(request), now=times.now()),
            }
            return self.confirm(request, form, **context)
        decide_each(request, chosen, verb, form.cleaned_data["reason"])
        return HttpResponseRedirect(request.get_full_path())

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        ticked = selected_rows(request)
        if request.method == "POST" and not self.has_decide_permission(request):
            rows = Approval.objects.filter(pk__in=ticked[: rules.MOST_TOGETHER])
            ids = list(rows.values_list("approval_id", flat=True))
            note_refused(request, ids, request.POST.get("action", ""))
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
        context = {"title": title, "tabs": tabs, **(extra_context or {})}
        return super().changelist_view(request, context)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        page = super().get_changelist_instance(request)
        summaries.describe(page.result_list, by=decider_of(request), now=times.now())
        return page

    def page_context(self, request: HttpRequest, row: Approval) -> dict[str, Any]:
        summaries.describe([row], by=decider_of(request), now=times.now())
        rest = {name: value for name, value in row.snapshot.items() if name not in SHOWN_APART}
        return {
            "title": row.shown.title,
            "successor": summaries.successor_of(row),
            "content": row.snapshot,
            "rest": {name: value for name, value in rest.items() if value not in (None, "", {})},
            "waited": waited(row),
            "timeline": timeline_of(row.task_id),
        }


def is_inbox(request: HttpRequest) -> bool:
    """Return whether a list shows what waits, and nothing else."""
    term = request.GET.get("q", "").strip()
    return not (request.GET.get("status") or term or OF_DECISIONS & set(request.GET))


def waited(approval: Approval) -> float:
    """Return how many seconds a request waits, or waited."""
    return ((approval.decided_at or times.now()) - approval.created_at).total_seconds()


def note_refused(request: HttpRequest, approval_ids: list[str], action: str) -> None:
    """Record that an account without the permission tried to decide."""
    verdict = VERDICTS["reject" if action.startswith("reject") else "approve"]
    reason = "The account does not have the permission to decide."
    for approval_id in approval_ids:
        refuse_role(Decision(approval_id, verdict, actor_of(request), times.now()), reason)


def refusal_together(chosen: list[Approval], verb: str, *, by: Actor) -> str:
    """Return why these may not be decided together, or ""."""
    if sentence := rules.refusal_together(chosen, VERDICTS[verb]):
        return sentence
    if large := next((approval for approval in chosen if approval.unread), None):
        return f"{large.approval_id} is too large to be checked here; open it to decide."
    refusals = separation.refusals([(approval, by) for approval in chosen]).items()
    return next((f"{approval_id}: {reason}" for approval_id, reason in refusals), "")


def decide_each(request: HttpRequest, chosen: list[Approval], verb: str, reason: str) -> None:
    """Decide some requests together, and say what happened."""
    verdict, by, now = VERDICTS[verb], actor_of(request), times.now()
    outcomes = decide_all(
        [Decision(approval.approval_id, verdict, by, now, reason) for approval in chosen]
    )
    refusals = [outcome for outcome in outcomes if isinstance(outcome, DomainError)]
    for refusal in refusals:
        messages.warning(request, str(refusal))
    done = len(outcomes) - len(refusals)
    if done:
        messages.success(request, f"{done} request{'' if done == 1 else 's'} {verdict}.")


def outcome_and_next(decided: Approval, by: Actor) -> SafeString:
    """Return what was decided, and where to go from here."""
    word = f"{decided.status.capitalize()}{' already' if decided.repeated else ''}"
    inbox = reverse("admin:approvals_app_approval_changelist")
    outcome = format_html("{}: {}.", word, called(decided))
    if (following := summaries.next_for(by, now=times.now())) is None:
        sentence = '{} Nothing else waits for you. <a class="link" href="{}">Approvals</a>'
        return format_html(sentence, outcome, inbox)
    return format_html(
        '{} Next: <a class="link" href="{}">{}</a> · <a class="link" href="{}">all that waits</a>',
        outcome,
        page_of("approvals_app.approval", following.approval_id),
        called(following),
        inbox,
    )


def called(approval: Approval) -> SafeString:
    """Return what messages call a request."""
    return rendering.visible(f"{approval.priority} {summaries.headline(approval.snapshot)}")


@admin.register(ApprovalPolicy)
class ApprovalPolicyAdmin(ConfiguredAdmin):
    configuration = policies.policies
    form = PolicyForm
    list_display = ("name", "active", "fits", "decider_role", "expiry")
    ordering = ("name",)

    fits = column(
        "Fits", lambda row: rendering.chips([*row.priorities, *row.types] or ["every task"])
    )
    expiry = column(
        "Expires after",
        lambda row: rendering.span(row.expires_after) if row.expires_after else "never",
    )
