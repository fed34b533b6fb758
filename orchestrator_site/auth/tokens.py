"""Mint and read JSON Web Tokens. No database.

simplejwt's own checks let a missing role and an empty `sub` pass and fail on `exp` in milliseconds,
so its `Token` and `TokenBackend` are subclassed and every claim is checked here.
"""

import dataclasses
import functools
import json
import re
from datetime import datetime, timedelta
from typing import Any

import jwt
from django.conf import settings
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenError
from rest_framework_simplejwt.tokens import Token

from orchestrator_site.core import times
from orchestrator_site.core.actors import Role
from orchestrator_site.core.names import is_name

ALGORITHM = "HS256"
LIFETIME = timedelta(hours=24)
EXPIRY_LEEWAY = 10  # seconds a clock may run behind
ISSUE_LEEWAY = 60  # seconds a client's clock may run ahead
LAST_TIME = 253_402_300_799  # end of the year 9999: what is beyond was meant in milliseconds
MAX_LENGTH = 8192
HEADER = {"alg", "typ"}  # nothing that names, fetches or brings a key
KEY_ID = re.compile(r"([0-9a-f]{10}|env-[0-9a-f]{16}|account:.{1,128})\Z")
JWS = jwt.PyJWS(algorithms=[ALGORITHM])


@dataclasses.dataclass(frozen=True, slots=True)
class Claims:
    """What a token says.

    expires_at: Unix time, whole seconds. key: the API key or account it was minted with, or "".
    """

    sub: str
    role: Role
    expires_at: int
    key: str = ""


def mint(
    *, sub: str, role: Role | str, now: datetime, lifetime: timedelta = LIFETIME, key: str = ""
) -> str:
    """Return a signed token with exactly the guide's claims, and `key` if it is to end with one."""
    claims: dict[str, Any] = {"sub": sub, "role": str(role), "exp": now + lifetime, "iat": now}
    if key:
        claims["key"] = key
    return jwt.encode(claims, settings.ORCHESTRATOR_JWT_SECRET, algorithm=ALGORITHM)


def read(text: str) -> Claims:
    """Return what a token says; raise TokenError with one sentence when it is not good."""
    secrets = settings.ORCHESTRATOR_JWT_SECRET, settings.ORCHESTRATOR_JWT_SECRET_PREVIOUS
    token = opened(text, *secrets)
    token.check_times()
    return token.claims


class StrictBackend(TokenBackend):
    """Checks form and signature; during a rotation the previous secret counts too."""

    def __init__(self, *secrets: str) -> None:
        """secrets: the one to sign with first; empty ones are left out."""
        super().__init__(ALGORITHM, leeway=EXPIRY_LEEWAY)
        self.secrets = [secret for secret in secrets if secret]

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:
        """Return the payload of a token signed with one of the secrets. It is always verified."""
        if not token.isascii() or len(token) > MAX_LENGTH or token.count(".") != 2:
            raise TokenBackendError("The token is not valid.")
        for secret in self.secrets:
            try:
                return payload_of(token, secret)
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, RecursionError):
                break
        raise TokenBackendError("The token is not valid.")


def payload_of(token: str, secret: str) -> dict[str, Any]:
    """Return what a token signed with this secret says; raise ValueError on what is not ours."""
    parts = JWS.decode_complete(token, secret, algorithms=[ALGORITHM])
    header = parts["header"]
    if not header.keys() <= HEADER or str(header.get("typ", "JWT")).upper() != "JWT":
        raise ValueError("a header we do not know")
    payload = json.loads(parts["payload"], object_pairs_hook=distinct, parse_constant=refuse)
    if not isinstance(payload, dict):
        raise ValueError("not an object")
    return payload


class OrchestratorToken(Token):
    """A token whose claims have been checked, all of them."""

    token_type = "access"  # noqa: S105
    lifetime = LIFETIME

    def __init__(self, text: str, *secrets: str) -> None:
        """secrets: that may have signed it."""
        self._secrets = secrets
        super().__init__(text)  # type: ignore[arg-type]  # simplejwt names its type wrongly

    def get_token_backend(self) -> TokenBackend:
        return StrictBackend(*self._secrets)

    def verify(self) -> None:
        """Check every claim but the times. The parent's checks are replaced: large numbers fail."""
        if not is_name(self.get("sub")):
            raise TokenError("The token's sub is not a name.")
        role = self.get("role")
        if not isinstance(role, str) or role not in list(Role):
            raise TokenError("The token's role is not known.")
        expires_at, issued_at = instant(self.get("exp")), instant(self.get("iat"))
        if expires_at is None or issued_at is None:
            raise TokenError("The token needs exp and iat in Unix seconds.")
        key = self.get("key")
        if not isinstance(key, str) or not KEY_ID.match(key):
            key = ""  # not one of ours: ignored, as all unknown claims are
        self.claims = Claims(self["sub"], Role(role), int(expires_at), key)
        self._times = expires_at, issued_at

    def check_times(self) -> None:
        """Raise TokenError if it has expired, or was issued in the future."""
        (earliest, latest), (expires_at, issued_at) = times.bounds(), self._times
        if expires_at <= earliest - EXPIRY_LEEWAY:
            raise TokenError("The token has expired.")
        if issued_at > latest + ISSUE_LEEWAY:
            raise TokenError("The token was issued in the future.")


@functools.lru_cache(maxsize=4096)
def opened(text: str, *secrets: str) -> OrchestratorToken:
    """Return a token signed with one of these secrets; raise TokenError.

    Remembered, because callers send one token all day; the times are checked each time.
    """
    return OrchestratorToken(text, *secrets)


def instant(value: object) -> float | None:
    """Return a claim as Unix seconds, or None if it is not a sane finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= LAST_TIME else None


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs as a dict; of two equal names none can be trusted."""
    payload = dict(pairs)
    if len(payload) != len(pairs):
        raise ValueError("a name given twice")
    return payload


def refuse(word: str) -> None:
    """Refuse NaN and Infinity, which JSON does not know."""
    raise ValueError(f"{word} is not JSON")
