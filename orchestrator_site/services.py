"""Making and ending API keys; forgetting old answers."""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from orchestrator_site.actors import Actor, Role
from orchestrator_site.errors import Conflict, Invalid, NotFound
from orchestrator_site.models import ApiKey, IdempotencyKey
from orchestrator_site.names import is_name

ANSWERS_KEPT = timedelta(hours=24)


@transaction.atomic
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
    if not is_name(name):
        raise Invalid("A name is 1 to 128 printable characters and not a reserved word.", field="name")
    if expires_at is not None and expires_at <= now:
        raise Invalid("The key would have expired already.", field="expires_at")
    prefix = secrets.token_hex(5)
    text = f"ork_{prefix}_{secrets.token_urlsafe(32)}"
    key = ApiKey.objects.create(
        prefix=prefix,
        secret_hash=hash_of(text),
        name=name,
        role=known_role(role),
        expires_at=expires_at,
        rate_limits=checked_rates(rate_limits or {}),
        created_by=by.name,
        created_at=now,
    )
    return key, text


@transaction.atomic
def revoke_api_key(*, prefix: str, by: Actor, now: datetime) -> ApiKey:
    """End a key at once."""
    if not ApiKey.objects.filter(prefix=prefix, revoked_at=None).update(revoked_at=now):
        if ApiKey.objects.filter(prefix=prefix).exists():
            raise Conflict("The key is already revoked.")
        raise NotFound("There is no such key.")
    return ApiKey.objects.get(prefix=prefix)


def prune_answers(*, now: datetime, limit: int = 200) -> int:
    """Forget the oldest answers that are kept no longer; return how many.

    One short transaction: whoever wants all of them gone calls again until nothing is left.
    """
    old = IdempotencyKey.objects.filter(created_at__lt=now - ANSWERS_KEPT).order_by("created_at")
    rows = IdempotencyKey.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:limit]))
    return rows._raw_delete(rows.db) or 0  # nothing refers to them, and their answers need not be read


def hash_of(text: str) -> str:
    """Return what is kept of a key. 256 random bits need no slow hash."""
    return hashlib.sha256(text.encode()).hexdigest()


def known_role(role: Role | str) -> Role:
    """Return the role a word names."""
    try:
        return Role(role)
    except ValueError:
        raise Invalid(f"The role must be one of {', '.join(Role)}.", field="role") from None


def checked_rates(rates: Mapping[str, int]) -> dict[str, int]:
    """Return a key's own rates; raise Invalid on an unknown scope or a rate below 1."""
    for scope, rate in rates.items():
        if scope not in settings.RATE_LIMITS or type(rate) is not int or rate < 1:
            raise Invalid("Rates are whole numbers of at least 1 by scope.", field="rate_limits")
    return dict(rates)
