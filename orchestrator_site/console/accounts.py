"""Who acts when somebody clicks in the console."""

from django.http import HttpRequest

from orchestrator_site.auth.accounts import DECIDE
from orchestrator_site.auth.principals import capped, restriction_of
from orchestrator_site.core.actors import Actor, Assurance, Door, Role
from orchestrator_site.core.names import MAX_NAME

OPERATE = "tasks_app.operate_task"


def actor_of(request: HttpRequest, role: Role | None = None) -> Actor:
    """Return the signed-in account as an actor, with no more than its principal's role.

    role: what the page itself grants, after asking its permission.
    """
    name = request.user.get_username()
    if role is None and request.user.is_superuser:
        role = Role.ADMIN
    elif role is None:
        role = Role.AGENT if request.user.has_perm(DECIDE) else Role.USER
    granted = capped(role, restriction_of(name)[1])
    return Actor(name[:MAX_NAME], granted, Door.CONSOLE, Assurance.HUMAN, f"account:{name}")


def decider_of(request: HttpRequest) -> Actor | None:
    """Return the signed-in account as an actor, or None if it may decide nothing."""
    return actor_of(request) if request.user.has_perm(DECIDE) else None
