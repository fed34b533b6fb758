"""Who is calling: a bearer token or an API key, read from headers only."""

import dataclasses
import functools
from collections.abc import Mapping

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework_simplejwt.exceptions import TokenError

from orchestrator_site.auth import api_keys, tokens
from orchestrator_site.auth.principals import capped, restriction_of, restrictions
from orchestrator_site.core import times
from orchestrator_site.core.actors import Actor, Assurance, Door
from orchestrator_site.core.names import fault_of

CREDENTIALS = (("authorization", "HTTP_AUTHORIZATION"), ("x-api-key", "HTTP_X_API_KEY"))
CHALLENGE = 'Bearer realm="orchestrator"'


class CredentialAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>` or `X-API-Key: <key>`."""

    def authenticate(self, request: Request) -> tuple[Actor, None] | None:
        """Return the caller, None without a credential; raise AuthenticationFailed."""
        headers = credentials_of(request.META)
        return (authenticate_headers(headers), None) if headers else None

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


def credentials_of(meta: Mapping[str, str]) -> dict[str, str]:
    """Return the credential headers of a WSGI environment, by lower-case name."""
    return {name: meta[key] for name, key in CREDENTIALS if key in meta}


def authenticate_headers(headers: Mapping[str, str]) -> Actor:
    """Return the caller that these headers speak for; raise AuthenticationFailed.

    headers: by lower-case name; a header sent twice is one value joined by a comma.
    """
    bearer, key = headers.get("authorization"), headers.get("x-api-key")
    if bearer is not None and key is not None:
        raise AuthenticationFailed(
            "The credentials are ambiguous: send a bearer token or an API key, not both."
        )
    if key is not None:
        return restricted(by_key(key))
    if bearer is not None:
        return restricted(by_token(bearer))
    raise AuthenticationFailed("No credential was sent.")


def by_token(header: str) -> Actor:
    """Return who signed the bearer token in an Authorization header."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "bearer" or not text.strip() or " " in text.strip():
        raise AuthenticationFailed(
            "The Authorization header must be: Bearer, one space, the token."
        )
    try:
        claims = tokens.read(text.strip())
    except TokenError as refusal:
        raise AuthenticationFailed(
            f"{str(refusal.args[0]).rstrip('.')}."
        ) from None  # simplejwt's have no full stop
    return minted(claims) if claims.key else signed(claims)


@functools.lru_cache(maxsize=4096)
def signed(claims: tokens.Claims) -> Actor:
    """Return who a token speaks for that only the secret has signed."""
    if fault := fault_of(claims.sub):
        raise AuthenticationFailed(f"The token's sub is not a name. {fault}")
    return Actor(claims.sub, claims.role, Door.API, Assurance.SHARED, "jwt", claims.expires_at)


def minted(claims: tokens.Claims) -> Actor:
    """Return whose token this is: made with a key or by an account, it is no more than that now."""
    minter = api_keys.living_minter(claims.key)
    if minter is None:
        raise AuthenticationFailed("The token has ended with the credential it was made with.")
    if claims.sub != minter.name and (fault := fault_of(claims.sub)):
        raise AuthenticationFailed(f"The token's sub is not a name. {fault}")
    return caller_of(
        minter, assurance=Assurance.SHARED, credential=f"jwt:{claims.key}", claims=claims
    )


def by_key(text: str) -> Actor:
    """Return whose API key this is."""
    if text.isascii() and text.isprintable():
        if mine := api_keys.find_environment_key(text):
            minter, credential = api_keys.environment_minter(mine), f"key:{mine.name}"
            return caller_of(minter, assurance=Assurance.PERSONAL, credential=credential)
        if kept := api_keys.find_database_key(text, now=times.now()):
            minter, credential = api_keys.key_minter(kept), f"key:{kept.prefix}"
            return caller_of(minter, assurance=Assurance.PERSONAL, credential=credential)
    raise AuthenticationFailed("The API key is not valid.")


def caller_of(
    minter: api_keys.Minter,
    *,
    assurance: Assurance,
    credential: str,
    claims: tokens.Claims | None = None,
) -> Actor:
    """Return who calls with a key or as an account, or with a token made so.

    claims: what such a token says; it gives no more than its minter has now.
    """
    ends = int(minter.ends.timestamp()) if minter.ends else None
    return Actor(
        name=claims.sub if claims else minter.name,
        role=capped(claims.role, minter.role) if claims else minter.role,
        door=Door.API,
        assurance=assurance,
        credential=credential,
        expires_at=claims.expires_at if claims else ends,
        rate_limits=minter.rate_limits,
        key=minter.key_id,
        key_name=minter.name,
        made_by=minter.made_by,
    )


def restricted(actor: Actor) -> Actor:
    """Return the caller as the records of its name, and of its key's owner, allow.

    Raise AuthenticationFailed if one says disabled.
    """
    if not restrictions():
        return actor
    disabled, cap = restriction_of(*filter(None, (actor.name, actor.key_name)))
    if disabled:
        raise AuthenticationFailed("This principal is disabled.")
    return dataclasses.replace(actor, role=capped(actor.role, cap)) if cap else actor
