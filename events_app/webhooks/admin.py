"""The console pages of webhooks and their deliveries."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString
from rest_framework import serializers
from unfold.decorators import display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from events_app.models import Delivery, Subscription
from events_app.serializers import checked_patterns
from events_app.webhooks import services as webhooks
from events_app.webhooks.url_policy import ensure_may_subscribe, target_of
from orchestrator_site.console import one_time_secrets, rendering
from orchestrator_site.console.accounts import actor_of
from orchestrator_site.console.base import (
    NeedsReasonForm,
    ReadOnlyAdmin,
    capped_count,
    page_of,
    refusals_as_form_errors,
)
from orchestrator_site.console.columns import column, moment
from orchestrator_site.console.dialogs import dialog_action
from orchestrator_site.console.filters import Choice
from orchestrator_site.core import times
from orchestrator_site.core.actors import Role
from orchestrator_site.core.errors import DomainError

MANAGE, MAKE = "events_app.change_subscription", "events_app.add_subscription"
SHOWN = 20  # of the newest deliveries, on the page of a subscription
TONES = {Delivery.Status.DELIVERED: "success", Delivery.Status.DEAD: "danger"}
HOURS = {1: "the last hour", 24: "the last day", 168: "the last week", 720: "the last 30 days"}


class ResendForm(BaseDialogForm):
    """One event, or all of the last hours."""

    hours = forms.TypedChoiceField(
        coerce=int,
        empty_value=0,  # type: ignore[arg-type]
        required=False,
        choices=[("", "one event"), *HOURS.items()],
        label="What",
        widget=UnfoldAdminSelectWidget,
    )
    event_id = forms.CharField(
        max_length=40, required=False, label="Event", widget=UnfoldAdminTextInputWidget
    )

    def clean(self) -> dict[str, Any]:
        fields = super().clean() or self.cleaned_data
        if bool(fields.get("hours")) == bool(fields.get("event_id")):
            self.add_error("event_id", "Name one event, or choose a time.")
        return fields


class NewForm(forms.ModelForm):
    types = forms.CharField(
        max_length=2000,
        initial="*",
        widget=UnfoldAdminTextInputWidget,
        help_text="Such as: task.*, sla.violation, or * for all.",
    )

    class Meta:
        model = Subscription
        fields = ("url", "types", "format", "description")
        help_texts = {"url": "https, port 443, at a public address."}
        widgets = {"url": UnfoldAdminTextInputWidget}

    def clean_url(self) -> str:
        with refusals_as_form_errors():
            ensure_may_subscribe(self.cleaned_data["url"], webhooks.reach())
        return str(self.cleaned_data["url"])

    def clean_types(self) -> list[str]:
        patterns = self.cleaned_data["types"].replace(",", " ").split()
        try:
            return checked_patterns(patterns)
        except serializers.ValidationError as refusal:
            raise forms.ValidationError(str(next(iter(refusal.detail)))) from refusal


class InState(Choice):
    title, parameter_name, column = "status", "status", "status"
    values = Delivery.Status.values


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin):
    list_title = "Webhooks"
    public_id = "subscription_id"
    exact_search = ("subscription_id", "created_by")
    search_help_text = "The exact id of a subscription, or who made it"
    list_display = ("where", "state", "wants", "waiting", "created_by", "made")
    ordering = ("-id",)
    form, fields = NewForm, NewForm.Meta.fields
    change_form_template = "admin/events_app/subscription/page.html"
    actions_detail = ("resend", "rotate", "switch_off", "switch_on")

    def has_manage_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return bool(request.user.has_perm(MANAGE))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm(MAKE))

    def save_model(self, request: HttpRequest, obj: Subscription, form: Any, change: bool) -> None:
        fields = {name: form.cleaned_data[name] for name in NewForm.Meta.fields}
        by = actor_of(request, Role.ADMIN)
        obj.__dict__.update(vars(webhooks.subscribe(**fields, by=by, now=times.now())))

    def response_add(
        self, request: HttpRequest, obj: Subscription, post_url_continue: str | None = None
    ) -> HttpResponse:
        messages.success(request, f"{self.name_of(obj)}: made.")
        answer = HttpResponseRedirect(page_of("events_app.subscription", obj.subscription_id))
        return one_time_secrets.keep(request, answer, obj.secret, of=str(obj))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        context = {"title": "New webhook", **(extra_context or {})}
        try:
            return super().add_view(request, form_url, context)
        except DomainError as refusal:
            messages.warning(request, str(refusal))
            return HttpResponseRedirect(reverse("admin:events_app_subscription_changelist"))

    wants = column("Types", lambda row: rendering.chips(row.types))
    made = moment("Made")

    @display(description="Receiver")
    def where(self, subscription: Subscription) -> SafeString:
        host = format_html("<b>{}</b>", rendering.visible(target_of(subscription.url).host))
        description = rendering.visible(subscription.description)
        return rendering.stacked(host, description, rendering.code(subscription.subscription_id))

    @display(description="State")
    def state(self, subscription: Subscription) -> SafeString:
        if not subscription.active:
            return rendering.chip("off", "danger", subscription.disabled_reason)
        if subscription.failing_since:
            return rendering.chip("failing", "warning")
        return rendering.chip("on", "success")

    @display(description="Not delivered")
    def waiting(self, subscription: Subscription) -> SafeString:
        rows = subscription.deliveries
        pending = capped_count(rows.filter(status=Delivery.Status.PENDING))
        dead = capped_count(rows.filter(status=Delivery.Status.DEAD))
        counts = (f"{pending} waiting", f"{dead} given up")
        return rendering.stacked(*map(rendering.visible, counts))

    @dialog_action(
        "Send again",
        permission="manage",
        title="Send again?",
        lead="One event, or everything of a time: also what was given up, and what it never had.",
        form=ResendForm,
    )
    def resend(self, request: HttpRequest, form: ResendForm, object_id: str) -> HttpResponse:
        event_id, hours = form.cleaned_data["event_id"], form.cleaned_data["hours"]
        since = times.now() - timedelta(hours=hours) if hours else None

        def done(count: int) -> str:
            rest = " What it never had follows." if since else ""
            return f"sends {count} known deliver{'y' if count == 1 else 'ies'} again.{rest}"

        return self.act_on(
            request, object_id, webhooks.resend, done, event_id=event_id, since=since
        )

    @dialog_action(
        "Rotate the secret",
        permission="manage",
        title="Make a new secret?",
        lead="It is shown once. For 24 hours the old one signs beside it.",
        submit="Make a new secret",
    )
    def rotate(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        rotated: list[Subscription] = []

        def done(subscription: Subscription) -> str:
            rotated.append(subscription)
            return "has a new secret."

        answer = self.act_on(request, object_id, webhooks.rotate, done)
        for subscription in rotated:
            one_time_secrets.keep(request, answer, subscription.secret, of=str(subscription))
        return answer

    @dialog_action(
        "Switch off",
        permission="manage",
        title="Switch this webhook off?",
        lead="Nothing is sent until it is switched on again; then it goes on where it stopped.",
        form=NeedsReasonForm,
        style="button-stop",
    )
    def switch_off(
        self, request: HttpRequest, form: NeedsReasonForm, object_id: str
    ) -> HttpResponse:
        reason = form.cleaned_data["reason"]
        return self.act_on(request, object_id, webhooks.switch_off, "switched off.", reason=reason)

    @dialog_action(
        "Switch on",
        permission="manage",
        title="Switch this webhook on?",
        lead="It goes on where it stopped, as far as the log is kept.",
    )
    def switch_on(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        return self.act_on(request, object_id, webhooks.switch_on, "switched on.")

    def name_of(self, row: Subscription) -> str:
        return f"Webhook to {target_of(row.url).host}"  # the rest of the URL may be a secret

    def page_context(self, request: HttpRequest, row: Subscription) -> dict[str, Any]:
        managed = self.has_manage_permission(request)
        verbs = ("resend", "rotate", "switch_off") if row.active else ("rotate", "switch_on")
        action = "admin:events_app_subscription_"
        return {
            "title": self.name_of(row),
            "host": target_of(row.url).host,
            "managed": managed,
            "state": self.state(row),
            "secret": one_time_secrets.take(request, of=str(row)),
            "dialogs": [
                {
                    "label": getattr(self, verb).short_description,
                    "url": reverse(f"{action}{verb}", args=[row.subscription_id]),
                }
                for verb in (verbs if managed else ())
            ],
            "deliveries": [
                {
                    "row": delivery,
                    "chip": delivery_chip(delivery),
                    "tries": tries_of(delivery),
                    "error": last_error(delivery),
                }
                for delivery in row.deliveries.order_by("-id")[:SHOWN]
            ],
        }


def delivery_chip(delivery: Delivery) -> SafeString:
    return rendering.chip(delivery.status, TONES.get(Delivery.Status(delivery.status), "warning"))


def tries_of(delivery: Delivery) -> str:
    """Return how often a delivery was tried since it was last sent again by hand."""
    if delivery.log and not delivery.attempts:
        return "to be sent again"
    return f"{delivery.attempts} attempt{'' if delivery.attempts == 1 else 's'}"


def last_error(delivery: Delivery) -> str:
    """Return why the last attempt of the present round failed, or nothing."""
    return str(delivery.log[-1]["error"]) if delivery.log and delivery.attempts else ""


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    list_title = "Webhook deliveries"
    public_id = "id"
    exact_search = ("event_id", "subscription__subscription_id")
    search_help_text = "The exact id of an event or a subscription"
    list_display = ("what", "to", "state", "tries", "next", "made")
    list_filter = (InState,)
    list_select_related = ("subscription",)
    ordering = ("-id",)
    change_form_template = "admin/events_app/delivery/page.html"

    def find(self, object_id: str) -> Any:
        return super().find(object_id) if object_id.isdigit() else None

    def condition_on(self, name: str, term: str) -> Q:
        """Return the condition that has an index: all are by subscription."""
        rows = Subscription.objects.values_list("pk", flat=True)
        if name == "event_id":
            return Q(subscription__in=[*rows], event_id=term)
        return Q(subscription__in=[*rows.filter(subscription_id=term)])

    to = column("To", lambda row: rendering.visible(target_of(row.subscription.url).host))
    state = column("Status", delivery_chip)
    made = moment("Made")

    @display(description="Event")
    def what(self, delivery: Delivery) -> SafeString:
        event_type = rendering.visible(delivery.event_type)
        return rendering.stacked(event_type, rendering.code(delivery.event_id))

    @display(description="Attempts")
    def tries(self, delivery: Delivery) -> SafeString:
        error = last_error(delivery)
        tries = rendering.visible(tries_of(delivery))
        return rendering.stacked(tries, rendering.faint(error)) if error else tries

    @display(description="Next")
    def next(self, delivery: Delivery) -> SafeString:
        if delivery.status != Delivery.Status.PENDING:
            return rendering.faint("–")
        return rendering.when(delivery.next_attempt_at, times.now())

    def page_context(self, request: HttpRequest, row: Delivery) -> dict[str, Any]:
        attempts = [{**entry, "at": parse_datetime(entry["at"])} for entry in reversed(row.log)]
        shown = {"chip": delivery_chip(row), "tries": tries_of(row), "attempts": attempts}
        return {"title": "Webhook delivery", **shown}
