"""Tasks as an operator sees and steers them; agents and routing rules."""

import difflib
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget

from approvals_app.models import Approval
from events_app.admin import ConfiguredAdmin, timeline_of
from events_app.models import Event
from orchestrator_site.console import rendering
from orchestrator_site.console.accounts import OPERATE, actor_of
from orchestrator_site.console.base import (
    NeedsReasonForm,
    ReadOnlyAdmin,
    reason_field,
    selected_rows,
)
from orchestrator_site.console.columns import column, moment, priority
from orchestrator_site.console.dialogs import dialog_action
from orchestrator_site.core import times
from orchestrator_site.core.actors import Role
from tasks_app import event_types
from tasks_app.console.filters import FILTERS
from tasks_app.models import NEXT, OPEN, Agent, BulkOperation, RoutingRule, Status, Task
from tasks_app.services import agents as agent_services
from tasks_app.services import bulk, lifecycle, retries, routing

SHOWN_APPROVALS = 20
SHOWN_TASKS = 20
SHOWN_BULK = 5
IDS = ("task_id", "trace_id", "parent_task_id", "approval_id")
DONE = {"requeue": "requeued", "cancel": "cancelled"}


class CancelManyForm(forms.Form):
    reason = reason_field("Reason for all", insist="Say why: it is kept with each task.")


def active_agents() -> list[tuple[str, str]]:
    return [(name, name) for name, row in sorted(routing.agents().items()) if row.active]


class ReassignForm(NeedsReasonForm):
    agent = forms.ChoiceField(choices=active_agents, widget=UnfoldAdminSelectWidget)
    field_order = ("agent", "reason")


@display(description="Handed out", ordering="paused")
def handed_out(row: Agent | RoutingRule) -> SafeString:
    # Not as a boolean: a mark that is red where all is well would mislead.
    return rendering.chip("paused", "warning") if row.paused else rendering.faint("yes")


@admin.register(Task)
class TaskAdmin(ReadOnlyAdmin):
    """All tasks, newest first. Operators cancel, requeue and reassign through the services."""

    public_id = "task_id"
    large_fields = ("payload",)
    page_fields = ("metadata", "result", "error", "note")
    exact_search = (*IDS, "type", "assigned_agent", "created_by")
    search_help_text = "Exact id, trace, type, agent or who asked"
    list_filter = FILTERS
    list_display = ("urgency", "what", "state", "agent", "sla", "asked", "age")
    list_display_links = ("what",)
    ordering = ("-id",)
    list_before_template = "admin/tasks_app/task/operations.html"
    change_form_template = "admin/tasks_app/task/page.html"
    actions = ("requeue_selected", "cancel_selected")
    actions_detail = ("cancel", "requeue", "reassign")

    def name_of(self, row: Task) -> str:
        return rendering.in_words(f"{row.type} for {row.assigned_agent or 'nobody yet'}")

    def has_operate_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return bool(request.user.has_perm(OPERATE))

    urgency = priority()
    asked = column("Asked by", lambda task: rendering.name(task.created_by))
    age = moment("Created")

    @display(description="Task")
    def what(self, task: Task) -> SafeString:
        return rendering.stacked(
            format_html("<b>{}</b>", rendering.visible(task.type)),
            rendering.mono(rendering.summary(task.payload, 80, task.unread)),
        )

    @display(description="Status")
    def state(self, task: Task) -> SafeString:
        chip = rendering.chip(task.status)
        if not task.awaiting_approval or task.status not in OPEN:
            return chip
        return rendering.joined([chip, rendering.chip("sign-off", "warning", "Waits for a person")])

    @display(description="Agent")
    def agent(self, task: Task) -> SafeString:
        name = rendering.name(task.assigned_agent or "–")
        return rendering.stacked(name, rendering.name(task.holder)) if task.holder else name

    @display(description="SLA")
    def sla(self, task: Task) -> SafeString:
        return rendering.faint("–") if task.sla_state == "none" else rendering.chip(task.sla_state)

    @dialog_action(
        "Cancel",
        permission="operate",
        title="Cancel this task?",
        lead="What it asked sign-off for is withdrawn. It cannot be started again.",
        form=NeedsReasonForm,
        submit="Cancel the task",
        style="button-stop",
    )
    def cancel(self, request: HttpRequest, form: NeedsReasonForm, object_id: str) -> HttpResponse:
        reason = form.cleaned_data["reason"]
        return self.act_on(request, object_id, lifecycle.cancel_task, "cancelled", reason=reason)

    @dialog_action(
        "Requeue",
        permission="operate",
        title="Try this task again?",
        lead="It gets a fresh set of attempts. If it needs sign-off, it asks for a new one.",
    )
    def requeue(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        return self.act_on(request, object_id, retries.requeue, "back in the queue")

    @dialog_action(
        "Reassign",
        permission="operate",
        title="Give this task to another agent?",
        lead="A sign-off holds for the agent that was shown: a task that needs one asks again.",
        form=ReassignForm,
    )
    def reassign(self, request: HttpRequest, form: ReassignForm, object_id: str) -> HttpResponse:
        agent, reason = form.cleaned_data["agent"], form.cleaned_data["reason"]
        return self.act_on(
            request, object_id, routing.reassign, f"given to {agent}", agent=agent, reason=reason
        )

    @admin.action(description="Requeue the selected tasks", permissions=["operate"])
    def requeue_selected(
        self, request: HttpRequest, queryset: QuerySet[Task]
    ) -> HttpResponse | None:
        rows = queryset.filter(status=Status.FAILED)
        return self.start_bulk(request, rows, "requeue", forms.Form)

    @admin.action(description="Cancel the selected tasks", permissions=["operate"])
    def cancel_selected(
        self, request: HttpRequest, queryset: QuerySet[Task]
    ) -> HttpResponse | None:
        rows = queryset.filter(status__in=OPEN)
        return self.start_bulk(request, rows, "cancel", CancelManyForm)

    def start_bulk(
        self, request: HttpRequest, rows: QuerySet[Task], verb: str, form_class: type[forms.Form]
    ) -> HttpResponse | None:
        """Ask once more, then start a bulk operation, oldest first; say how far it has come."""
        done = DONE[verb]
        pks = list(rows.order_by("pk").values_list("pk", flat=True)[: bulk.MOST_TASKS + 1])
        if not pks:
            messages.warning(request, f"None of the selected tasks can be {done}.")
            return None
        form = form_class(request.POST if "confirmed" in request.POST else None)
        if not form.is_valid():
            across = request.POST.get("select_across", "0")
            context = to_confirm(pks, verb) | {"across": across, "ticked": selected_rows(request)}
            return self.confirm(request, form, **context)
        operation = bulk.start(
            verb=verb,
            pks=pks[: bulk.MOST_TASKS],
            by=actor_of(request, Role.ADMIN),
            now=times.now(),
            **form.cleaned_data,
        )
        rest = f", {operation.left:,} go on in the background" if operation.left else ""
        messages.success(request, f"{operation.done:,} task(s) {done}{rest}.")
        if operation.refused:
            sentence = f"{operation.refused:,} task(s) not {done}. The first: {operation.refusal}"
            messages.warning(request, sentence)
        return HttpResponseRedirect(request.get_full_path())

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if request.method == "POST" and not self.has_operate_permission(request):
            raise PermissionDenied
        selected_rows(request)
        rows = list(BulkOperation.objects.order_by("-pk")[:SHOWN_BULK])
        running = any(row.ended_at is None for row in rows)
        context = {"title": "Tasks", "operations": rows, "running": running}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def page_context(self, request: HttpRequest, row: Task) -> dict[str, Any]:
        dialogs = dialogs_for(row) if self.has_operate_permission(request) else []
        return {"title": self.name_of(row), **describe(row), "dialogs": dialogs}


def to_confirm(pks: list[int], verb: str) -> dict[str, Any]:
    """Return what would be done, and to how many. pks: one more than one operation may have."""
    number = min(len(pks), bulk.MOST_TASKS)
    shown = Task.objects.defer("payload", "metadata", "result").filter(pk__in=pks[:SHOWN_TASKS])
    return {
        "title": f"{verb.capitalize()} {number:,} task{'s' if number > 1 else ''}?",
        "verb": verb,
        "tasks": shown.order_by("pk"),
        "more": number - SHOWN_TASKS,
        "at_once": bulk.STEP if number > bulk.STEP else None,
        "too_many": len(pks) > number,
    }


def describe(task: Task) -> dict[str, Any]:
    """Return what the page of a task shows besides its row."""
    written = [task.payload, task.metadata, task.result, task.error, task.note]
    needs = task.dependencies.select_related("depends_on").order_by("pk")
    needs = needs.only("depends_on__task_id", "depends_on__status")
    needed_by = task.dependents.select_related("task").order_by("pk")
    needed_by = needed_by.only("task__task_id", "task__status")
    children = Task.objects.filter(parent_task_id=task.task_id).exclude(parent_task_id="")
    children = children.order_by("pk").only("task_id", "status")
    approvals = Approval.objects.filter(task_id=task.task_id).defer("snapshot").order_by("-id")
    return {
        "unseen": rendering.unseen_in(written),
        "approvals": approvals[:SHOWN_APPROVALS],
        "needs": [dependency.depends_on for dependency in needs[:SHOWN_TASKS]],
        "needed_by": [dependency.task for dependency in needed_by[:SHOWN_TASKS]],
        "children": children[:SHOWN_TASKS],
        "last_holder": last_holder(task),
        "timeline": timeline_of(task.task_id),
    }


def last_holder(task: Task) -> str:
    """Return who held a task that failed, as the log says it last, or ""."""
    if task.status != Status.FAILED or not task.attempt:
        return ""
    claims = Event.objects.filter(task_id=task.task_id, event_type=event_types.TASK_CLAIMED)
    return claims.order_by("-id").values_list("publisher", flat=True).first() or ""


def dialogs_for(task: Task) -> list[dict[str, str]]:
    """Return the dialogs that make sense for a task as it stands."""
    status = Status(task.status)
    possible = {
        "requeue": ("Requeue", "button-primary", status == Status.FAILED),
        "reassign": ("Reassign", "", status in (Status.PENDING, Status.ASSIGNED)),
        "cancel": ("Cancel the task", "button-reject", Status.CANCELLED in NEXT.get(status, ())),
    }
    return [
        {
            "label": label,
            "style": style,
            "url": reverse(f"admin:tasks_app_task_{verb}", args=[task.task_id]),
        }
        for verb, (label, style, wanted) in possible.items()
        if wanted
    ]


@admin.register(Agent)
class AgentAdmin(ConfiguredAdmin):
    configuration = agent_services.AGENTS
    list_display = ("name", "description", "active", handed_out, "most", "seen")
    named_once = ("name",)
    ordering = ("name",)
    fields = ("name", "description", "active", "paused", "concurrency_limit", "silent_after")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # its tasks would be stranded; it is switched off

    most = column("Most at once", lambda agent: str(agent.concurrency_limit or "any"))

    @display(description="Last seen")
    def seen(self, agent: Agent) -> SafeString:
        seen = rendering.when(agent.last_seen_at, times.now())
        if not agent.silent_since:
            return seen
        return rendering.joined([seen, rendering.chip("silent", "danger")])


@admin.register(RoutingRule)
class RoutingRuleAdmin(ConfiguredAdmin):
    configuration = agent_services.RULES
    list_display = (
        "task_type",
        "description",
        "agent",
        "fallback",
        handed_out,
        "concurrency_limit",
    )
    list_select_related = ("agent", "fallback")
    named_once = ("task_type",)
    ordering = ("task_type",)
    fields = ("task_type", "description", "agent", "fallback", "paused", "concurrency_limit")

    def save_model(
        self, request: HttpRequest, obj: RoutingRule, form: forms.ModelForm, change: bool
    ) -> None:
        known = routing.routing_rules()
        near = difflib.get_close_matches(obj.task_type, known, n=1, cutoff=0.8)
        super().save_model(request, obj, form, change)
        if near and not change:
            question = f"Did you mean {near[0]}, which has a rule?"
            messages.warning(request, f"{obj.task_type} is a new type. {question}")
