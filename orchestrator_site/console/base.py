"""Pages that only show, and dialogs that ask before something is done."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList as Rows
from django.core.exceptions import BadRequest
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.text import capfirst
from unfold.admin import ModelAdmin
from unfold.forms import BaseDialogForm
from unfold.paginator import InfinitePaginator
from unfold.views import ChangeList
from unfold.widgets import UnfoldAdminTextareaWidget

from orchestrator_site.console.accounts import actor_of
from orchestrator_site.console.filters import Filter
from orchestrator_site.console.large_values import read_small
from orchestrator_site.core import times
from orchestrator_site.core.actors import Role
from orchestrator_site.core.errors import DomainError
from orchestrator_site.infra.changes import change
from orchestrator_site.infra.narrowing import by_fewest

PUBLIC_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
TYPE_ID = re.compile(r"(approval|evt|sub|task)_[0-9a-z]{26}\Z")
MOST_COUNTED = 1000
MOST_FOUND = 500
HELD_IN = {  # the fields that may hold an id of this kind
    "approval": ("approval_id",),
    "evt": ("event_id",),
    "sub": ("subscription_id", "subscription__subscription_id"),
    "task": ("task_id", "parent_task_id"),
}


class PublicRows(ChangeList):
    """A list whose links name rows by their public ids, and whose filters find what is rare."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        filters = [
            each.parts(request, self.root_queryset)
            for each in self.filter_specs
            if isinstance(each, Filter) and each.value()
        ]
        if self.query:
            filters.append(
                [self.model_admin.get_search_results(request, self.root_queryset, self.query)[0]]
            )
        rows = by_fewest(rows, filters, most=self.page_num * self.list_per_page + 1)
        return rows.defer(*self.model_admin.large_fields, *self.model_admin.page_fields)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: list[Any] = list(self.result_list)
        read_small(self.result_list, *self.model_admin.large_fields)

    def url_for_result(self, result: Model) -> str:
        return page_of(self.opts.label_lower, getattr(result, self.model_admin.public_id))


class OwnButtons:
    """Dialogs are registered as Unfold's, but the page itself says where their buttons are."""

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        return []


class ConsoleAdmin(ModelAdmin):
    """Base of every admin: an address narrows a list by its declared filters, and by nothing else.

    Django by itself takes any lookup on a model's own fields from the query string. With that,
    whoever may look at a list can guess what it does not show, or have a costly pattern matched.
    """

    list_title = ""

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        context = {"title": self.list_title or capfirst(self.opts.verbose_name_plural)}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return what the page of a row shows besides its fields."""
        return {}

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        with change_of(request):
            return super().changeform_view(request, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        with change_of(request):
            return super().delete_view(request, *args, **kwargs)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, obj: Any = None, **kwargs: Any
    ) -> HttpResponse:
        if obj is not None:
            more = self.page_context(request, obj)
            obj.heading = more.get("title")  # which the page's header shows instead of an id
            context |= more | ({"subtitle": None} if obj.heading else {})
        return super().render_change_form(request, context, *args, obj=obj, **kwargs)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Return whether the query string may hold this: a filter's name and a printable value."""
        declared = self.get_list_filter(request) if request else self.list_filter
        return lookup in {one.parameter_name for one in declared} and "\x00" not in value

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.by = actor_of(request)  # who fills it in
        return form

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return nothing: an address fills in no form."""
        return {}


class ReadOnlyAdmin(OwnButtons, ConsoleAdmin):
    """Rows that nobody adds, changes or deletes here, not even a superuser.

    They are found by their public ids. Lists show the next page without counting all: their cost
    does not grow with the table.
    """

    public_id = ""
    large_fields: tuple[str, ...] = ()  # a list reads them where they are small
    page_fields: tuple[str, ...] = ()  # a list does not read them
    exact_search: tuple[str, ...] = ()
    actions: Any = None
    change_list_template = "admin/console/list.html"
    list_per_page = 50
    paginator = InfinitePaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    list_fullwidth = True
    fields: tuple[str, ...] = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    has_delete_permission = has_change_permission

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Model | None:
        return self.find(object_id)

    def find(self, object_id: str) -> Any:
        """Return the row with a public id or row number, or None."""
        if not PUBLIC_ID.match(object_id):
            return None
        by_number = Q(pk=int(object_id)) if object_id.isdigit() and len(object_id) < 19 else Q()
        known = Q(**{self.public_id: object_id}) | by_number
        return self.model._default_manager.filter(known).first()

    def name_of(self, row: Any) -> str:
        """Return what messages call a row."""
        return str(getattr(row, self.public_id))

    def act_on(
        self,
        request: HttpRequest,
        object_id: str,
        service: Callable[..., Any],
        done: str | Callable[[Any], str],
        **params: Any,
    ) -> HttpResponse:
        """Call a service for a row as an administrator, and close the dialog that asked for it.

        The permission of the action has been asked before. done: what to say after the row's name,
        or what makes that of the service's answer. Raise Http404.
        """
        row = self.find(object_id)
        if row is None:
            raise Http404(f"There is no such {self.opts.verbose_name}.")
        public_id = getattr(row, self.public_id)
        params |= {self.public_id: public_id, "by": actor_of(request, Role.ADMIN)}

        def sentence(answer: Any) -> str:
            return f"{self.name_of(row)}: {done(answer) if callable(done) else done}"

        run_action(request, service, sentence, **params)
        return close_dialog(request, page_of(self.opts.label_lower, public_id))

    def confirm(self, request: HttpRequest, form: forms.Form, **context: Any) -> TemplateResponse:
        """Show what an action would do to the ticked rows, and ask for what its form wants."""
        template = f"admin/{self.opts.app_label}/{self.opts.model_name}/selected.html"
        action = {"opts": self.opts, "form": form, "action": request.POST["action"]}
        context = {**self.admin_site.each_context(request), **action, **context}
        return TemplateResponse(request, template, context)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[Rows]:
        return PublicRows

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return self.exact_search

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[Any, bool]:
        """Return the rows with a field that equals the term: each has an index, or few rows."""
        term = search_term.strip()
        return (queryset.filter(self.search_condition(term)) if term else queryset), False

    def search_condition(self, term: str) -> Q:
        """Return the condition for rows that a term names; an id, where ids of its kind are.

        The index of one field has the rows in the order of the list. No index has those of several:
        then they are the newest of each.
        """
        kind, rows = TYPE_ID.match(term), self.model._default_manager.order_by("-pk")
        of_kind = [name for name in self.exact_search if kind and name in HELD_IN[kind[1]]]
        fields = [self.condition_on(name, term) for name in of_kind or self.exact_search]
        held = [condition for condition in fields if rows.filter(condition).exists()]
        if len(held) == 1:
            return held[0]
        newest = [rows.filter(one).values_list("pk", flat=True)[:MOST_FOUND] for one in held]
        return Q(pk__in=[*chain.from_iterable(newest)])

    def condition_on(self, name: str, term: str) -> Q:
        """Return the condition for rows with a term in a field, as its partial index says it."""
        return Q(~Q(**{name: ""}), **{name: term})


def reason_field(label: str = "Reason", insist: str = "") -> forms.CharField:
    """Return a form field for a reason. insist: what to say where none is given; "" takes none."""
    return forms.CharField(
        required=bool(insist),
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        label=label,
        error_messages={"required": insist} if insist else {},
    )


class ReasonForm(BaseDialogForm):
    reason = reason_field()


class NeedsReasonForm(ReasonForm):
    reason = reason_field(insist="Say why: it is kept with the decision.")


def change_of(request: HttpRequest) -> AbstractContextManager[None]:
    """Return the change that a posted form makes: Django's own rows are written before the events.

    Nothing for a page that is only looked at.
    """
    return change() if request.method == "POST" else nullcontext()


@contextmanager
def refusals_as_form_errors() -> Iterator[None]:
    """Have a form show a refusal beside the field that is being cleaned."""
    try:
        yield
    except DomainError as refusal:
        raise forms.ValidationError(str(refusal)) from None


def selected_rows(request: HttpRequest) -> list[str]:
    """Return the numbers of the rows that were ticked in a list; raise BadRequest."""
    rows = request.POST.getlist(ACTION_CHECKBOX_NAME)
    if all(row.isdecimal() and len(row) < 19 for row in rows):
        return rows
    raise BadRequest("Rows are numbers.")


def capped_count(rows: QuerySet[Any]) -> str:
    """Return how many rows there are, `999+` for a thousand and more: they are not counted on."""
    number = rows.order_by()[:MOST_COUNTED].count()
    return f"{MOST_COUNTED - 1}+" if number == MOST_COUNTED else str(number)


def page_of(label: str, object_id: object) -> str:
    """Return the address of a row's page. label: such as `tasks_app.task`."""
    return reverse(f"admin:{label.replace('.', '_')}_change", args=[object_id])


def run_action(
    request: HttpRequest, act: Callable[..., Any], done: str | Callable[[Any], str], /, **asked: Any
) -> bool:
    """Call a service with the clock and say what happened; return whether it was done.

    done: the sentence that says so, or what makes it of the service's answer.
    """
    try:
        answer = act(**asked, now=times.now())
    except DomainError as refusal:
        messages.warning(request, str(refusal))
        return False
    messages.success(request, done(answer) if callable(done) else done)
    return True


def close_dialog(request: HttpRequest, otherwise: str) -> HttpResponse:
    """Close a dialog: the page below loads again and shows the messages.

    otherwise: where to go without scripts.
    """
    if "HX-Request" in request.headers:
        return HttpResponse(headers={"HX-Refresh": "true"})
    return HttpResponseRedirect(otherwise)
