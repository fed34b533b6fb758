"""Restrictions on principals, asked at every door."""

from orchestrator_site.core.actors import Role
from orchestrator_site.core.names import fold
from orchestrator_site.infra.cached_rows import CachedRows
from orchestrator_site.models import Principal

Restriction = tuple[bool, Role | None]  # disabled, highest role
FREE: Restriction = (False, None)


def load_restrictions() -> dict[str, Restriction]:
    """Return folded name -> restriction; of names that are one, the strictest counts."""
    rows = Principal.objects.exclude(disabled=False, role=None)
    strictest: dict[str, Restriction] = {}
    for name, disabled, role in rows.values_list("name", "disabled", "role"):
        other_disabled, other_cap = strictest.get(fold(name), FREE)
        cap = lower(Role(role) if role else None, other_cap)
        strictest[fold(name)] = (disabled or other_disabled, cap)
    return strictest


restrictions = CachedRows(["orchestrator_site.Principal"], load_restrictions)


def restriction_of(*names: str) -> Restriction:
    """Return what holds for whoever goes by all of these names."""
    disabled, cap = FREE
    for name in names:
        one = restrictions().get(fold(name), FREE)
        disabled, cap = disabled or one[0], lower(cap, one[1])
    return disabled, cap


def lower(one: Role | None, other: Role | None) -> Role | None:
    """Return the lower of two roles; None is no limit."""
    if one is None or other is None:
        return one or other
    return other if one.covers(other) else one


def capped(role: Role, cap: Role | None) -> Role:
    """Return a role, or the cap if that is lower."""
    return lower(role, cap) or role
