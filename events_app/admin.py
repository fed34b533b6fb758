"""The console page of the log, and bases for admins whose changes are recorded in it."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.db.models import Q
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from events_app import services
from events_app.configuration import Configuration
from events_app.event_types import CONFIG_CHANGED
from events_app.log.reading import known_types
from events_app.models import Event, Origin
from orchestrator_site.console import rendering
from orchestrator_site.console.accounts import actor_of
from orchestrator_site.console.base import ConsoleAdmin, ReadOnlyAdmin, page_of
from orchestrator_site.console.columns import column, moment
from orchestrator_site.console.filters import Choice
from orchestrator_site.console.large_values import read_small
from orchestrator_site.core import times

SECRET = ("password", "secret", "hash")
FAMILIES = (
    "task",
    "approval",
    "sla",
    "agent",
    "rule",
    "policy",
    "subscription",
    "consumer",
    "system",
    "auth",
)
MOST_SEARCHED = 1000  # newest events, where no index answers
SHOWN_EVENTS = 100
RECENT = 500  # the newest events, among which publishers are looked for


class RecordedAdmin(ConsoleAdmin):
    """Configuration: each change is an event in the log, in the same transaction."""

    actions: Any = None
    list_fullwidth = True
    # Fields that others refer to: set when a row is made, then fixed.
    named_once: tuple[str, ...] = ()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*self.readonly_fields, *(self.named_once if obj else ()))

    def save_model(
        self, request: HttpRequest, obj: Any, form: forms.ModelForm, change: bool
    ) -> None:
        with services.change():
            super().save_model(request, obj, form, change)
            self.record_change(request, obj, "changed" if change else "added", changes_in(form))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        with services.change():
            self.record_change(request, obj, "removed", {})
            super().delete_model(request, obj)

    def record_change(
        self, request: HttpRequest, obj: Any, did: str, changes: dict[str, Any]
    ) -> None:
        """Record who did what to which row."""
        what = str(self.opts.verbose_name)
        payload = {"what": what, "name": str(obj), "did": did, "changes": changes}
        by, now = actor_of(request), times.now()
        services.record(event_type=CONFIG_CHANGED, by=by, now=now, payload=payload)


class ConfiguredAdmin(RecordedAdmin):
    """Rows that are made, changed and removed by the service that the API calls too."""

    configuration: Configuration[Any]

    def save_model(
        self, request: HttpRequest, obj: Any, form: forms.ModelForm, change: bool
    ) -> None:
        by, now, key = actor_of(request), times.now(), self.configuration.key
        names = form.changed_data if change else form.cleaned_data
        fields = {name: form.cleaned_data[name] for name in form.cleaned_data if name in names}
        if change:
            stored = form.initial.get(key, getattr(obj, key))
            self.configuration.change(stored, by=by, now=now, **fields)
        else:
            obj.pk = self.configuration.add(by=by, now=now, **fields).pk

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.configuration.remove(
            getattr(obj, self.configuration.key), by=actor_of(request), now=times.now()
        )


def changes_in(form: forms.ModelForm) -> dict[str, Any]:
    """Return what a form changed: field -> [before, after], without secrets."""
    return {
        name: [plain(form.initial.get(name)), plain(form.cleaned_data.get(name))]
        for name in form.changed_data
        if name in form.cleaned_data and not any(word in name for word in SECRET)
    }


def plain(value: Any) -> Any:
    """Return a form's value as JSON data."""
    if isinstance(value, list | models.QuerySet):
        return [str(item) for item in value]
    return value if value is None or isinstance(value, bool | int) else str(value)


def timeline_of(task_id: str) -> list[Event]:
    """Return the newest events of a task, newest first, with the payloads that are small.

    Nothing precedes a task's creation, though its request for sign-off is recorded before.
    """
    rows = Event.objects.of_task(task_id).order_by("-id").defer("payload")
    timeline = list(rows[:SHOWN_EVENTS])
    read_small(timeline, "payload")
    return sorted(timeline, key=lambda event: event.event_type == "task.created")


class OfFamily(Choice):
    title, parameter_name = "family", "family"
    values = FAMILIES

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(event_type__in=self.types()) if self.value() else queryset

    def parts(self, request: HttpRequest, queryset: Any) -> list[Any]:
        return [queryset.filter(event_type=kind) for kind in self.types()] or [queryset.none()]

    def types(self) -> list[str]:
        return [kind for kind in known_types() if kind.startswith(f"{self.value()}.")]


class OfOrigin(Choice):
    title, parameter_name, column = "origin", "origin", "origin"
    values = Origin.values

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        rows = super().queryset(request, queryset)
        return rows.exclude(origin="system") if self.value() in ("human", "agent") else rows


class OfPublisher(Choice):
    title, parameter_name, column = "publisher", "publisher", "publisher"

    def options(self) -> list[str]:
        newest = Event.objects.order_by("-id")[:RECENT]
        return sorted(set(newest.values_list("publisher", flat=True)))


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    public_id = "event_id"
    large_fields = ("payload",)
    exact_search = ("event_id", "task_id", "trace_id")
    search_help_text = "Exact id or trace; newest 1,000: publisher, type"
    list_display = ("kind", "about", "source", "said", "happened")
    list_filter = (OfFamily, OfOrigin, OfPublisher)
    ordering = ("-position",)
    change_form_template = "admin/events_app/event/page.html"

    def search_condition(self, term: str) -> Q:
        """Return what an id names, or else the newest events by this publisher or of this type."""
        named = super().search_condition(term)
        if named != Q(pk__in=[]):
            return named
        newest = Event.objects.after(0).order_by("-position")[:MOST_SEARCHED]
        rows = newest.values_list("pk", "publisher", "event_type")
        return Q(pk__in=[pk for pk, *names in rows if term in names])

    kind = column("Event", lambda event: rendering.visible(event.event_type))
    said = column(
        "Says", lambda row: rendering.mono(rendering.summary(row.payload, 72, row.unread))
    )
    happened = moment("When")

    @display(description="Task")
    def about(self, event: Event) -> SafeString:
        shown = rendering.code(event.task_id)
        if not event.task_id:
            return shown
        return format_html(
            '<a class="link" href="{}">{}</a>', page_of("tasks_app.task", event.task_id), shown
        )

    @display(description="By")
    def source(self, event: Event) -> SafeString:
        more = rendering.chip(event.origin), rendering.faint(f"by {event.door}")
        return rendering.stacked(rendering.name(event.publisher), *more)

    def page_context(self, request: HttpRequest, row: Event) -> dict[str, Any]:
        return {"title": "Event"}


from events_app.webhooks import admin as webhook_admin  # noqa: E402, F401 - Django finds admins here
