"""API keys (D11): those in the environment, and those in the database."""

import dataclasses
import functools
import hashlib
import hmac
import os
from collections.abc import Mapping
from datetime import datetime, timedelta

from orchestrator_site.actors import Role
from orchestrator_site.models import ApiKey
from orchestrator_site.names import is_name
from orchestrator_site.services import hash_of
from orchestrator_site.weakness import is_guessable

VARIABLE = "ORCHESTRATOR_API_KEY_"
USE_NOTED_EVERY = timedelta(minutes=1)


@dataclasses.dataclass(frozen=True, slots=True)
class EnvironmentKey:
    """A key from the environment, of which only a digest is held."""

    name: str
    role: Role
    digest: bytes
    length: int
    guessable: bool = False


@functools.cache
def environment_keys() -> tuple[EnvironmentKey, ...]:
    """Return the well-formed keys of this process's environment, read once."""
    return read_keys(os.environ)[0]


def read_keys(environment: Mapping[str, str]) -> tuple[tuple[EnvironmentKey, ...], list[str]]:
    """Return the keys, and one sentence for each entry that cannot be used.

    Form: `ORCHESTRATOR_API_KEY_<NAME>=<key>:<role>`; the role follows the last colon.
    """
    keys: dict[bytes, EnvironmentKey] = {}
    faults = []
    for variable, value in sorted(environment.items()):
        if variable.startswith(VARIABLE) and value.strip():
            key, fault = read_key(variable, value.strip())
            if key and (key.digest in keys or key.name in {other.name for other in keys.values()}):
                key, fault = None, f"{variable} repeats the name or the key of another one."
            if key:
                keys[key.digest] = key
            else:
                faults.append(fault)
    return tuple(keys.values()), faults


def read_key(variable: str, value: str) -> tuple[EnvironmentKey | None, str]:
    """Return the key of one variable, or None and what is wrong with it."""
    name = variable.removeprefix(VARIABLE).lower()
    key, _, role = value.rpartition(":")
    if not is_name(name):
        return None, f"{variable} does not name a principal: the name is empty or reserved."
    if role not in list(Role):
        return None, f"{variable} must end in :admin, :agent or :user."
    if not key or not key.isascii() or not key.isprintable() or key != key.strip():
        return None, f"{variable} needs a key of printable ASCII characters before the last colon."
    return EnvironmentKey(name, Role(role), digest(key), len(key), is_guessable(key)), ""


def find_environment_key(text: str) -> EnvironmentKey | None:
    """Return the key with this text. All are compared, so the time tells nothing."""
    presented, found = digest(text), None
    for key in environment_keys():
        if hmac.compare_digest(key.digest, presented):
            found = key
    return found


def find_database_key(text: str, *, now: datetime) -> ApiKey | None:
    """Return the living key with this text, `ork_<prefix>_<secret>`, and note its use."""
    prefix = text.split("_", 2)[1] if text.count("_") >= 2 else ""
    if not text.startswith("ork_") or not prefix.isalnum() or len(prefix) > 16:
        return None
    key = ApiKey.objects.filter(prefix=prefix, revoked_at=None).first()
    if key is None or not hmac.compare_digest(key.secret_hash, hash_of(text)):
        return None
    if key.expires_at is not None and key.expires_at <= now:
        return None
    note_use(key, now=now)
    return key


def note_use(key: ApiKey, *, now: datetime) -> None:
    """Keep when the key was last used, to the minute: the hot path shall not write each time."""
    before = now - USE_NOTED_EVERY
    if key.last_used_at is None or key.last_used_at < before:
        ApiKey.objects.filter(pk=key.pk).unused_since(before).update(last_used_at=now)


def digest(text: str) -> bytes:
    """Return a fixed-length stand-in for a key, so that comparing shows no length."""
    return hashlib.sha256(text.encode()).digest()
