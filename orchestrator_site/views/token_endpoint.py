"""`POST /auth/token`: who may have a token made, for whom, and for how long."""

import base64
import ipaddress
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator_site.api.passwords import check_password
from orchestrator_site.api.viewsets import ApiViewSet
from orchestrator_site.auth.api_keys import account_minter
from orchestrator_site.auth.authentication import (
    CHALLENGE,
    CredentialAuthentication,
    caller_of,
    restricted,
)
from orchestrator_site.auth.tokens import LIFETIME, mint
from orchestrator_site.core.actors import Actor, Assurance, Role
from orchestrator_site.core.errors import Forbidden
from orchestrator_site.views.serializers import NewTokenSerializer, TokenSerializer

FORWARDED = {  # what a proxy adds to say for whom it speaks
    *("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST"),
    *("HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_PORT", "HTTP_X_FORWARDED_SERVER"),
    *("HTTP_X_REAL_IP", "HTTP_X_CLIENT_IP", "HTTP_TRUE_CLIENT_IP", "HTTP_CF_CONNECTING_IP"),
}


class StaffAuthentication(BaseAuthentication):
    """HTTP Basic with the password of a staff account."""

    def authenticate(self, request: Request) -> tuple[Actor, None] | None:
        """Return the account, or None for a credential of another kind."""
        scheme, _, text = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "basic" or "HTTP_X_API_KEY" in request.META:
            return None
        return staff_member(request, text.strip()), None

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge that makes a refusal a 401."""
        return CHALLENGE


class StaffScheme(OpenApiAuthenticationExtension):
    """Says so in the schema."""

    target_class = StaffAuthentication
    name = "staff"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        """Return the definition."""
        return {"type": "http", "scheme": "basic", "description": "A staff account of the console."}


class TokenViewSet(ApiViewSet):
    """Tokens."""

    authentication_classes = [StaffAuthentication, CredentialAuthentication]
    roles = {"create": None}  # who may is settled below, by what is asked for
    rate_scopes = {"create": "auth_token"}
    once_actions = ()
    examples = {"create": {"user_id": "dev-agent-1", "role": "agent"}}
    counts_addresses = True
    refuses_bad_credentials = True

    @extend_schema(request=NewTokenSerializer, responses=TokenSerializer)
    def create(self, request: Request) -> Response:
        """Sign a token for 24 hours.

        Needs a token, an API key, or HTTP Basic of a staff account: an admin may ask for anyone,
        others for themselves and never above their own role. The token never outlives what it was
        asked with: it ends no later, and at once when the key is revoked or the account disabled.
        A token that was itself made so gets tokens for its own name only. A development server
        also answers its own machine without a credential, for the roles `agent` and `user`.
        """
        if self.actor is None:
            check_open_door(request.META)
        wanted = self.checked(NewTokenSerializer)
        user_id, role = wanted["user_id"], Role(wanted["role"])
        check_may_mint(self.actor, user_id=user_id, role=role)
        now = self.now.replace(microsecond=0)
        lifetime = lifetime_for(self.actor, now=now)
        key = self.actor.key if self.actor else ""
        text = mint(sub=user_id, role=role, now=now, lifetime=lifetime, key=key)
        answer = {"access_token": text, "token": text, "token_type": "bearer", **wanted}
        answer["expires_in"] = int(lifetime.total_seconds())
        return Response(TokenSerializer(answer).data)


def check_may_mint(actor: Actor | None, *, user_id: str, role: Role) -> None:
    """Raise Forbidden or NotAuthenticated for another's name or a higher role than one's own.

    actor: None for who needs no credential; they get any name, and any role but admin.
    """
    if actor is None:
        if role == Role.ADMIN:
            raise NotAuthenticated(
                "A token with the role admin needs a credential, on a development server too."
            )
    elif not actor.role.covers(role) or (actor.name != user_id and actor.role != Role.ADMIN):
        raise Forbidden("Only an admin may ask for another name or a higher role than its own.")
    elif actor.name != user_id and actor.assurance == Assurance.SHARED and actor.key:
        whose = "A token made with a key or by an account gets no tokens for other names"
        raise Forbidden(f"{whose}; use that itself.")


def lifetime_for(actor: Actor | None, *, now: datetime) -> timedelta:
    """Return how long a token may live: a day, and no longer than what asks for it."""
    if actor is None or actor.expires_at is None:
        return LIFETIME
    left = timedelta(seconds=actor.expires_at - int(now.timestamp()))
    if left <= timedelta(0):
        raise AuthenticationFailed("The credential has ended.")
    return min(LIFETIME, left)


def check_open_door(meta: Mapping[str, str]) -> None:
    """Raise unless a request without a credential comes from this machine, in development."""
    if not settings.DEVELOPMENT or not is_loopback(meta.get("REMOTE_ADDR", "")):
        raise NotAuthenticated("Send a bearer token, an API key, or HTTP Basic of a staff account.")
    if not FORWARDED.isdisjoint(meta):
        raise NotAuthenticated("A forwarded request needs a credential.")
    origin = meta.get("HTTP_ORIGIN")
    if origin is not None and not is_own_origin(origin, meta.get("HTTP_HOST", "")):
        raise Forbidden("A page of another origin may not ask for a token.")


def is_loopback(text: str) -> bool:
    """Return whether this is an address, or the name, of this very machine."""
    try:
        return text == "localhost" or ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


def is_own_origin(origin: str, host: str) -> bool:
    """Return whether a page was served by this server under a name of this machine."""
    parts = urlsplit(origin)
    return (
        parts.scheme in ("http", "https")
        and parts.netloc == host
        and is_loopback(parts.hostname or "")
    )


def staff_member(request: Request, encoded: str) -> Actor:
    """Return the staff account of an HTTP Basic credential.

    A superuser counts as admin, other staff as user: their rights are in the console. Raise
    AuthenticationFailed, or what `check_password` raises.
    """
    try:
        username, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        raise AuthenticationFailed("The Basic credential cannot be read.") from None
    fit = "\x00" not in username + password
    account = fit and check_password(request._request, username=username, password=password)
    if not account or not account.is_staff:
        raise AuthenticationFailed(
            "The username or password is wrong, or the account is not staff."
        )
    minter = account_minter(account)
    credential = f"account:{minter.name}"
    return restricted(caller_of(minter, assurance=Assurance.HUMAN, credential=credential))


token = TokenViewSet.as_view({"post": "create"})
