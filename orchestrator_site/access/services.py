"""Make, revoke and restrict credentials, each with its event."""

import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model

from events_app.services import change, record
from orchestrator_site.auth import api_keys
from orchestrator_site.core.actors import Actor, Door, Role
from orchestrator_site.core.errors import Conflict, Forbidden, Invalid, NotFound
from orchestrator_site.core.names import fault_of, fold
from orchestrator_site.models import ApiKey, Principal

KEY_CREATED = "auth.key_created"
KEY_REVOKED = "auth.key_revoked"
PRINCIPAL_CHANGED = "auth.principal_changed"


class NameTaken(Forbidden):
    """The name belongs to somebody else."""


class NotYours(Forbidden):
    """This restriction is not the caller's to change."""


@change
def create_api_key(
    *,
    name: str,
    role: Role | str,
    expires_at: datetime | None = None,
    rate_limits: Mapping[str, int] | None = None,
    by: Actor,
    now: datetime,
) -> tuple[ApiKey, str]:
    """Make a key for a principal; return it and its text, which nothing else can show again.

    rate_limits: requests a minute by scope of `settings.RATE_LIMITS`, where they differ.
    """
    ensure_may_name_key(name, by=by)
    if expires_at is not None and expires_at <= now:
        raise Invalid("The key would have expired already.", field="expires_at")
    if role not in list(Role):
        raise Invalid(f"The role must be one of {', '.join(Role)}.", field="role")
    prefix = secrets.token_hex(5)
    text = f"ork_{prefix}_{secrets.token_urlsafe(32)}"
    key = ApiKey.objects.create(
        prefix=prefix,
        secret_hash=api_keys.digest(text).hex(),
        name=name,
        role=Role(role),
        expires_at=expires_at,
        rate_limits=checked_rates(rate_limits or {}),
        created_by=by.name,
        created_at=now,
    )
    facts = {"role": key.role, "expires_at": key.expires_at and key.expires_at.isoformat()}
    record_key_event(KEY_CREATED, key, by=by, now=now, **facts, rate_limits=key.rate_limits)
    return key, text


@change
def revoke_api_key(*, prefix: str, by: Actor, now: datetime) -> ApiKey:
    """End a key at once."""
    if not ApiKey.objects.filter(prefix=prefix, revoked_at=None).update(revoked_at=now):
        if ApiKey.objects.filter(prefix=prefix).exists():
            raise Conflict("The key is already revoked.")
        raise NotFound("There is no such key.")
    key = ApiKey.objects.get(prefix=prefix)
    api_keys.invalidate_keys()
    record_key_event(KEY_REVOKED, key, by=by, now=now)
    return key


def record_key_event(
    event_type: str, key: ApiKey, *, by: Actor, now: datetime, **more: Any
) -> None:
    """Record what happened to a key."""
    payload = {"prefix": key.prefix, "name": key.name, **more}
    record(event_type=event_type, by=by, now=now, payload=payload)


def ensure_may_name_key(name: str, *, by: Actor) -> None:
    """Raise Invalid or NameTaken unless the actor may make a key for this name.

    An account may make keys for its own name, for names that nobody has, and for those of the
    keys it made; for another's name an administrator makes them.
    """
    used = names_in_use()
    if name not in used:
        ensure_new(name, used)
    if by.door != Door.CONSOLE or by.role.covers(Role.ADMIN) or name == by.name:
        return
    foreign = ApiKey.objects.exclude(created_by=by.name).values_list("name", flat=True).distinct()
    if name in account_names().union(foreign, environment_names()):
        raise NameTaken(
            f"The name {name} belongs to somebody else. Ask an administrator to make this key."
        )


def ensure_new(name: str, others: Iterable[str]) -> None:
    """Raise Invalid unless this can be a new name: plain, and no other one but for its spelling."""
    if fault := fault_of(name):
        raise Invalid(fault, field="name")
    if like := next((other for other in others if fold(other) == fold(name)), None):
        raise Invalid(f"This name is too much like {like}.", field="name")


@change
def save_principal(principal: Principal, *, by: Actor, now: datetime) -> Principal:
    """Add a restriction, or change one; raise Invalid or NotYours."""
    ensure_may_restrict(principal.name, by=by)
    stored = Principal.objects.filter(pk=principal.pk).first() if principal.pk else None
    if stored is None:
        ensure_may_be_restricted(principal.name)
    principal.save()
    record_restriction(stored, principal, by=by, now=now)
    return principal


def ensure_may_restrict(name: str, *, by: Actor) -> None:
    """Raise NotYours for one's own name, and for an administrator's unless one is one too."""
    if by.door != Door.CONSOLE:
        return
    if fold(name) == fold(by.name):
        raise NotYours("Nobody restricts their own name, or lifts what restricts it.")
    admins = account_names(is_superuser=True)
    if not by.role.covers(Role.ADMIN) and fold(name) in map(fold, admins):
        raise NotYours(f"{name} is an administrator. Ask an administrator.")


def ensure_may_be_restricted(name: str) -> None:
    """Raise Invalid for a name with a restriction, or too much like another one in use."""
    if Principal.objects.filter(name=name).exists():
        raise Invalid("There is a restriction for this name already.", field="name")
    if name not in (used := names_in_use()):
        ensure_new(name, used)


@change
def delete_principal(principal: Principal, *, by: Actor, now: datetime) -> None:
    """Lift a restriction; raise NotYours."""
    ensure_may_restrict(principal.name, by=by)
    record_restriction(principal, None, by=by, now=now)
    principal.delete()


def terms_of(principal: Principal | None) -> dict[str, Any]:
    """Return what a restriction says, empty for none."""
    if principal is None:
        return {}
    return {"disabled": principal.disabled, "role": principal.role or None, "note": principal.note}


def record_restriction(
    before: Principal | None, after: Principal | None, *, by: Actor, now: datetime
) -> None:
    """Record how a restriction changed; None where there was none, or is none any more."""
    old, new = terms_of(before), terms_of(after)
    changes = {
        term: [old.get(term), new.get(term)]
        for term in old | new
        if (old.get(term) or None) != (new.get(term) or None)
    }
    did = "changed" if old and new else "added" if new else "removed"
    payload = {"name": (after or before or Principal()).name, "did": did, "changes": changes}
    record(event_type=PRINCIPAL_CHANGED, by=by, now=now, payload=payload)


def names_in_use() -> set[str]:
    """Return the names of accounts, keys and restrictions."""
    stored = ApiKey.objects.values_list("name", flat=True).distinct()
    restricted = Principal.objects.values_list("name", flat=True)
    return account_names().union(stored, restricted, environment_names())


def environment_names() -> set[str]:
    """Return the names of the keys in the environment."""
    return {key.name for key in api_keys.environment_keys()}


def account_names(**of: Any) -> set[str]:
    """Return the names of the console's accounts. of: fields they must have."""
    accounts = get_user_model()._default_manager.filter(**of)
    return set(accounts.values_list("username", flat=True))


def checked_rates(rates: Mapping[str, int]) -> dict[str, int]:
    """Return a key's own rates; raise Invalid on an unknown scope or a rate below 1."""
    for scope, rate in rates.items():
        if scope not in settings.RATE_LIMITS or type(rate) is not int or rate < 1:
            raise Invalid("Rates are whole numbers of at least 1 by scope.", field="rate_limits")
    return dict(rates)
