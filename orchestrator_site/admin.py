"""API keys, restricted principals and console accounts."""

from datetime import datetime
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.auth import admin as auth_admin
from django.contrib.auth.models import Group, User
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, BaseDialogForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from events_app.admin import RecordedAdmin
from orchestrator_site.access import services
from orchestrator_site.console import one_time_secrets, rendering
from orchestrator_site.console.abilities import ABILITIES, LOOK, abilities_of, set_abilities
from orchestrator_site.console.accounts import actor_of
from orchestrator_site.console.base import (
    OwnButtons,
    close_dialog,
    page_of,
    refusals_as_form_errors,
    run_action,
)
from orchestrator_site.console.columns import moment
from orchestrator_site.console.dialogs import dialog_action
from orchestrator_site.core import times
from orchestrator_site.core.actors import Actor, Role
from orchestrator_site.core.errors import DomainError
from orchestrator_site.models import ApiKey, Principal


class KeyForm(forms.ModelForm):
    """Whose key, what it may do, and until when."""

    class Meta:
        model = ApiKey
        fields = ("name", "role", "expires_at")
        help_texts = {
            "name": "The principal it speaks for, such as dev-agent-1.",
            "expires_at": "UTC; empty for never.",
        }

    by: Actor  # who fills it in

    def clean_name(self) -> str:
        with refusals_as_form_errors():
            services.ensure_may_name_key(self.cleaned_data["name"], by=self.by)
        return str(self.cleaned_data["name"])

    def clean_expires_at(self) -> datetime | None:
        ends: datetime | None = self.cleaned_data["expires_at"]
        if ends and ends <= times.now():
            raise forms.ValidationError("The key would have expired already.")
        return ends


@admin.register(ApiKey)
class ApiKeyAdmin(OwnButtons, RecordedAdmin):
    """Keys: made here, shown once, revoked by a dialog; never changed."""

    form = KeyForm
    list_display = ("owner", "role_chip", "state", "used", "created_by", "made")
    search_fields = ("=name", "=prefix")
    ordering = ("name", "-created_at")
    change_form_template = "admin/orchestrator_site/apikey/page.html"
    actions_detail = ("revoke",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_delete_permission = has_change_permission

    def has_revoke_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return bool(request.user.has_perm("orchestrator_site.change_apikey"))

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        # An operator makes no key that may do more than an agent.
        if not request.user.is_superuser and "role" in form.base_fields:
            roles = [(role.value, role.value) for role in (Role.USER, Role.AGENT)]
            form.base_fields["role"].choices = [("", "Select value"), *roles]
        return form

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        fields = {name: form.cleaned_data[name] for name in ("name", "role", "expires_at")}
        by = actor_of(request)
        made, request.key_text = services.create_api_key(**fields, by=by, now=times.now())  # type: ignore[attr-defined]
        obj.__dict__.update(vars(made))

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        page = HttpResponseRedirect(page_of("orchestrator_site.apikey", obj.pk))
        text = request.key_text  # type: ignore[attr-defined]
        return one_time_secrets.keep(request, page, text, of=f"key {obj.prefix}")

    @dialog_action(
        "Revoke",
        permission="revoke",
        title="Revoke this key?",
        lead="Whoever uses it is refused at once. It cannot be brought back.",
        style="button-stop",
    )
    def revoke(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        key = self.get_object(request, object_id)
        if key is None:
            raise Http404("There is no such key.")
        done = f"The key of {key.name} (ork_{key.prefix}_…) is revoked."
        run_action(request, services.revoke_api_key, done, prefix=key.prefix, by=actor_of(request))
        return close_dialog(request, page_of("orchestrator_site.apikey", key.pk))

    def page_context(self, request: HttpRequest, row: ApiKey) -> dict[str, Any]:
        return {
            "title": f"API key of {row.name}",
            "state": self.state(row),
            "may_revoke": self.has_revoke_permission(request) and row.revoked_at is None,
            "secret": one_time_secrets.take(request, of=f"key {row.prefix}"),
        }

    used = moment("Last used", "last_used_at", "last_used_at")
    made = moment("Made", "created_at", "created_at")

    @display(description="Owner", ordering="name")
    def owner(self, key: ApiKey) -> SafeString:
        return rendering.stacked(rendering.visible(key.name), rendering.code(f"ork_{key.prefix}_…"))

    @display(description="Role")
    def role_chip(self, key: ApiKey) -> SafeString:
        return rendering.chip(key.role, {"admin": "danger", "agent": "info"}.get(key.role, "calm"))

    @display(description="State")
    def state(self, key: ApiKey) -> SafeString:
        if key.revoked_at:
            return rendering.chip("revoked")
        is_over = key.expires_at and key.expires_at <= times.now()
        return rendering.chip("expired") if is_over else rendering.chip("active", "success")


class PrincipalForm(forms.ModelForm):
    """Whose credentials count less, and how much."""

    by: Actor  # who fills it in

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        with refusals_as_form_errors():
            services.ensure_may_restrict(name, by=self.by)
            services.ensure_may_be_restricted(name)
        return name


@admin.register(Principal)
class PrincipalAdmin(RecordedAdmin):
    list_display = ("name", "disabled", "role", "note")
    search_fields = ("=name",)
    form = PrincipalForm
    named_once = ("name",)
    fields = ("name", "disabled", "role", "note")

    def has_change_permission(self, request: HttpRequest, obj: Principal | None = None) -> bool:
        return bool(super().has_change_permission(request, obj)) and self.is_theirs(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Principal | None = None) -> bool:
        return bool(super().has_delete_permission(request, obj)) and self.is_theirs(request, obj)

    def is_theirs(self, request: HttpRequest, obj: Principal | None) -> bool:
        """Return whether the account may change this restriction."""
        try:
            services.ensure_may_restrict(obj.name if obj else "", by=actor_of(request))
        except DomainError:
            return False
        return True

    def save_model(
        self, request: HttpRequest, obj: Principal, form: forms.ModelForm, change: bool
    ) -> None:
        services.save_principal(obj, by=actor_of(request), now=times.now())

    def delete_model(self, request: HttpRequest, obj: Principal) -> None:
        services.delete_principal(obj, by=actor_of(request), now=times.now())


class SuperusersOnly:
    """Only superusers see these pages."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    def has_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return self.has_module_permission(request)

    has_view_permission = has_change_permission = has_delete_permission = has_permission
    has_add_permission = has_module_permission


class AccountCreationForm(UserCreationForm):
    """A console account is known by its name in all records, so the name must be one."""

    def clean_username(self) -> str:
        name = str(super().clean_username())
        with refusals_as_form_errors():
            services.ensure_new(name, services.account_names())
        return name


class AccountForm(UserChangeForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].help_text = format_html(
            'Only its hash is stored, so nobody can see it. <a class="link" href="{}">Set a new'
            " one</a>",
            "../password/",
        )

    class Meta(UserChangeForm.Meta):
        help_texts: ClassVar[dict[str, str]] = {
            "is_active": "Without it the account is shut out at once. Prefer this to deleting it.",
            "is_superuser": "It may do everything, whatever its groups.",
        }


admin.site.unregister([User, Group])
User._meta.verbose_name, User._meta.verbose_name_plural = "account", "accounts"


@admin.register(User)
class AccountAdmin(SuperusersOnly, RecordedAdmin, auth_admin.UserAdmin):
    form, add_form = AccountForm, AccountCreationForm
    add_form_template = None  # Django's speaks of users
    change_password_form = AdminPasswordChangeForm
    list_title = "Accounts"
    list_display = ("username", "is_active", "is_superuser", "member_of", "last_login")
    list_filter = ()
    named_once = ("username",)
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password", "first_name", "last_name", "email")}),
        ("May do", {"fields": ("is_active", "is_superuser", "groups")}),
    )
    add_fieldsets = (
        (None, {"classes": ("wide",), "fields": ("username", "password1", "password2", "groups")}),
    )

    def save_model(
        self, request: HttpRequest, obj: User, form: forms.ModelForm, change: bool
    ) -> None:
        obj.is_staff = True
        super().save_model(request, obj, form, change)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("groups")

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        # Boxes to tick: one click would clear a list.
        kwargs["widget"] = UnfoldAdminCheckboxSelectMultipleWidget()
        kwargs["help_text"] = "The account may do what any of its groups may."
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    @display(description="Groups")
    def member_of(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all()) or "–"


class GroupForm(forms.ModelForm):
    """What the accounts of a group may do, as boxes to tick."""

    may = forms.MultipleChoiceField(
        choices=[(name, words) for name, (words, _) in ABILITIES.items()],
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        label="Its accounts may",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["may"] = abilities_of(self.instance)

    def clean_may(self) -> list[str]:
        chosen: list[str] = self.cleaned_data["may"]
        return [LOOK, *chosen] if chosen and LOOK not in chosen else chosen

    def _save_m2m(self) -> None:
        super()._save_m2m()  # type: ignore[misc]
        set_abilities(self.instance, self.cleaned_data["may"])

    class Meta:
        model = Group
        fields = ("name",)


@admin.register(Group)
class AccountGroupAdmin(SuperusersOnly, RecordedAdmin, auth_admin.GroupAdmin):
    form = GroupForm
    fields = ("name", "may")
    list_display = ("name", "abilities")
    filter_horizontal = ()

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("permissions__content_type")

    @display(description="May")
    def abilities(self, group: Group) -> SafeString:
        words = [ABILITIES[name][0] for name in abilities_of(group)]
        return rendering.chips(words or ["Nothing"])
