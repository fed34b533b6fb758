"""Console accounts as their principal's record allows."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Permission
from django.db.models.signals import post_save, pre_save
from django.dispatch import receiver

from orchestrator_site.auth.principals import capped, restriction_of
from orchestrator_site.core.actors import Role

DECIDE = "approvals_app.decide_approval"
VIEW = ".view_"


class AccountBackend(ModelBackend):
    """Refuses disabled accounts at login and at every request; takes rights from lowered ones."""

    def user_can_authenticate(self, user: Any) -> bool:
        return super().user_can_authenticate(user) and not restriction_of(user.get_username())[0]

    def get_user(self, user_id: Any) -> Any:
        user = super().get_user(user_id)
        return user and as_allowed(user)

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        """Return the permissions, of a lowered account those that its role leaves."""
        found: set[str] = super().get_all_permissions(user_obj, obj)
        cap = restriction_of(user_obj.get_username())[1] if user_obj.is_active else None
        if getattr(user_obj, "lowered", False):
            found = found | viewing(user_obj) | {DECIDE}
        return {name for name in found if VIEW in name} if cap == Role.USER else found


def as_allowed(user: Any) -> Any:
    """Return the account; one whose principal has a lower role is no superuser."""
    cap = restriction_of(user.get_username())[1]
    if user.is_superuser and capped(Role.ADMIN, cap) != Role.ADMIN:
        user.is_superuser, user.lowered = False, True
    return user


def viewing(user: Any) -> set[str]:
    """Return the permissions to look at things, read once for an account object."""
    if not hasattr(user, "_viewing"):
        rows = Permission.objects.filter(codename__startswith="view_").exclude(
            content_type__app_label="auth"
        )
        names = rows.values_list("content_type__app_label", "codename")
        user._viewing = {f"{app}.{codename}" for app, codename in names}
    return set(user._viewing)


@receiver([pre_save, post_save], sender=get_user_model(), dispatch_uid="keep_superuser")
def keep_superuser(sender: Any, instance: Any, signal: Any, **_: Any) -> None:
    """Store a lowered superuser, such as one who changes the password, as the superuser it is.

    After that it is lowered in memory again.
    """
    if getattr(instance, "lowered", False):
        instance.is_superuser = signal is pre_save


def find_account(username: str) -> Any:
    """Return the staff account with this name as it may be used now, or None."""
    backend = AccountBackend()
    user = get_user_model()._default_manager.filter(username=username, is_staff=True).first()
    return as_allowed(user) if user and backend.user_can_authenticate(user) else None


def may_decide(username: str) -> bool:
    """Return whether there is such an account and it may decide approvals."""
    account = find_account(username)
    return account is not None and account.has_perm(DECIDE)
