"""Who is calling (D10-D12): a bearer token or an API key, read from headers only."""

import dataclasses
from collections.abc import Mapping

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework_simplejwt.exceptions import TokenError

from orchestrator_site.actors import Actor, Assurance, Door, Role
from orchestrator_site.api import keys, tokens
from orchestrator_site.caching import CachedRows
from orchestrator_site.models import Principal

CHALLENGE = 'Bearer realm="orchestrator"'


class CredentialAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>` or `X-API-Key: <key>`."""

    def authenticate(self, request: Request) -> tuple[Actor, None] | None:
        """Return the caller, or None when no credential came; raise AuthenticationFailed on a bad one."""
        headers = credentials_of(request.META)
        return (authenticate_headers(headers), None) if headers else None

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge that makes a refusal a 401."""
        return CHALLENGE


def credentials_of(meta: Mapping[str, str]) -> dict[str, str]:
    """Return the credential headers of a WSGI environment, by lower-case name."""
    found = {"authorization": meta.get("HTTP_AUTHORIZATION"), "x-api-key": meta.get("HTTP_X_API_KEY")}
    return {name: value for name, value in found.items() if value is not None}


def authenticate_headers(headers: Mapping[str, str]) -> Actor:
    """Return the caller that these headers speak for; raise AuthenticationFailed.

    headers: by lower-case name; a header sent twice is one value joined by a comma.
    """
    bearer, key = headers.get("authorization"), headers.get("x-api-key")
    if bearer is not None and key is not None:
        raise AuthenticationFailed("The credentials are ambiguous: send a bearer token or an API key, not both.")
    if key is not None:
        return restricted(by_key(key))
    if bearer is not None:
        return restricted(by_token(bearer))
    raise AuthenticationFailed("No credential was sent.")


def by_token(header: str) -> Actor:
    """Return who signed the bearer token in an Authorization header."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "bearer" or not text.strip() or " " in text.strip():
        raise AuthenticationFailed("The Authorization header must be: Bearer, one space, the token.")
    try:
        claims = tokens.read(text.strip())
    except TokenError as refusal:
        raise AuthenticationFailed(f"{str(refusal.args[0]).rstrip('.')}.") from None  # simplejwt's have no full stop
    return Actor(claims.sub, claims.role, Door.API, Assurance.SHARED, "jwt", claims.expires_at)


def by_key(text: str) -> Actor:
    """Return whose API key this is."""
    if text.isascii() and text.isprintable():
        if mine := keys.find_environment_key(text):
            return Actor(mine.name, mine.role, Door.API, Assurance.PERSONAL, f"key:{mine.name}")
        if kept := keys.find_database_key(text, now=timezone.now()):
            ends = int(kept.expires_at.timestamp()) if kept.expires_at else None
            rates = tuple(sorted(kept.rate_limits.items()))
            credential = f"key:{kept.prefix}"
            return Actor(kept.name, Role(kept.role), Door.API, Assurance.PERSONAL, credential, ends, rates)
    raise AuthenticationFailed("The API key is not valid.")


def restricted(actor: Actor) -> Actor:
    """Return the caller as their record allows (D12); raise AuthenticationFailed if it says disabled."""
    record = restrictions().get(actor.name)
    if record is None:
        return actor
    disabled, cap = record
    if disabled:
        raise AuthenticationFailed("This principal is disabled.")
    return dataclasses.replace(actor, role=cap) if cap and actor.role.covers(cap) else actor


def load_restrictions() -> dict[str, tuple[bool, Role | None]]:
    """Return name -> (disabled, highest role) of the principals that are restricted."""
    rows = Principal.objects.exclude(disabled=False, role=None).values_list("name", "disabled", "role")
    return {name: (disabled, Role(role) if role else None) for name, disabled, role in rows}


restrictions = CachedRows(["orchestrator_site.Principal"], load_restrictions)
