"""One rule for every endpoint: the role an action names, or a higher one."""

from typing import Any, cast

from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from orchestrator_site.core.actors import Actor, Role


class HasRole(BasePermission):
    """Lets in who has the role that `view.roles` names for the action.

    An action that it does not name is admin-only.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        """Return whether the caller may; raise NotAuthenticated when nobody is known."""
        method, caller = str(request.method).lower(), cast(Actor | None, request.user)
        if method not in getattr(view, "action_map", {method}):
            return True  # the route has no such method: the answer will be 405
        needed = getattr(view, "roles", {}).get(getattr(view, "action", ""), Role.ADMIN)
        if needed is None:
            return True
        if caller is None:
            raise NotAuthenticated("Send a bearer token or an API key.")
        self.message = f"This needs the role {needed}."
        return caller.role.covers(needed)
