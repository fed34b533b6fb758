"""API keys: those in the environment, and those in the database; and what they minted."""

import dataclasses
import functools
import hashlib
import hmac
import os
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils.crypto import salted_hmac

from orchestrator_site.auth.accounts import find_account
from orchestrator_site.core import times
from orchestrator_site.core.actors import Role
from orchestrator_site.core.names import MAX_NAME, fault_of, fold
from orchestrator_site.core.weak_secrets import is_guessable
from orchestrator_site.infra.cached_rows import CachedLookup, invalidate
from orchestrator_site.models import ApiKey

VARIABLE = "ORCHESTRATOR_API_KEY_"
USE_NOTED_EVERY = timedelta(minutes=1)
NOBODY = frozenset({"", "system", "command"})  # makers of keys that are no account
ACCOUNT = "account:"
ENVIRONMENT = "env-"


@dataclasses.dataclass(frozen=True, slots=True)
class EnvironmentKey:
    """A key from the environment, of which only a digest is held."""

    name: str
    role: Role
    digest: bytes
    length: int
    guessable: bool = False

    @property
    def key_id(self) -> str:
        """Return what tokens name the key by: the same in every process; it tells no text."""
        return (
            ENVIRONMENT
            + salted_hmac("orchestrator.api-key", self.digest, algorithm="sha256").hexdigest()[:16]
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Minter:
    """A key or an account that tokens were made with, as it is now.

    made_by: the account behind it, if any.
    """

    key_id: str
    name: str
    role: Role
    made_by: str = ""
    ends: datetime | None = None
    ended: bool = False
    rate_limits: tuple[tuple[str, int], ...] = ()

    def lives(self, now: datetime) -> bool:
        """Return whether it still counts."""
        return not self.ended and (self.ends is None or now < self.ends)


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
    if fault := fault_of(name):
        return None, f"{variable} does not name a principal. {fault}"
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
    key = keys(prefix)
    if key is None or key.revoked_at is not None:
        return None
    if not hmac.compare_digest(key.secret_hash, digest(text).hex()):
        return None
    if key.expires_at is not None and key.expires_at <= now:
        return None
    known = key.last_used_at
    if known is None or known < now - USE_NOTED_EVERY:  # the hot path shall not write each time
        ApiKey.objects.filter(pk=key.pk, last_used_at=known).update(last_used_at=now)
        key.last_used_at = now
    return key


def find_minter(key_id: str) -> Minter | None:
    """Return the key or account with this id, ended or not; None if there is none any more."""
    if key_id.startswith(ACCOUNT):
        account = find_account(key_id.removeprefix(ACCOUNT))
        return account and account_minter(account)
    if key_id.startswith(ENVIRONMENT):
        found = (key for key in environment_keys() if key.key_id == key_id)
        return next(map(environment_minter, found), None)
    key = key_with(key_id)
    return key_minter(key) if key else None


def key_with(prefix: str) -> ApiKey | None:
    """Return the key with a prefix, ended or not."""
    return ApiKey.objects.filter(prefix=prefix).first()


LABEL = "orchestrator_site.ApiKey"
keys = CachedLookup([LABEL], key_with)
minters = CachedLookup([LABEL], find_minter)


def invalidate_keys() -> None:
    """Ask the database again: a key has changed in this transaction without a signal."""
    for kept in (minters, keys):
        invalidate(kept)


def environment_minter(key: EnvironmentKey) -> Minter:
    """Return a key of the environment as who mints."""
    return Minter(key.key_id, key.name, key.role)


def key_minter(key: ApiKey) -> Minter:
    """Return a key of the database as who mints."""
    return Minter(
        key_id=key.prefix,
        name=key.name,
        role=Role(key.role),
        made_by="" if key.created_by in NOBODY else key.created_by,
        ends=key.expires_at,
        ended=key.revoked_at is not None,
        rate_limits=tuple(sorted(key.rate_limits.items())),
    )


def account_minter(account: Any) -> Minter:
    """Return a staff account as who mints: a superuser counts as admin, other staff as user."""
    name = account.get_username()
    role = Role.ADMIN if account.is_superuser else Role.USER
    return Minter(f"{ACCOUNT}{name[:MAX_NAME]}", name, role, made_by=name)


def living_minter(key_id: str) -> Minter | None:
    """Return who minted a token, if it still counts; at most a second old."""
    found = minters(key_id)
    return found if found and found.lives(times.now()) else None


def persons_behind(groups: Iterable[Collection[tuple[str, str]]]) -> list[frozenset[str]]:
    """Return, for each group of (name, credential), everybody they count as, folded.

    A name that has keys counts as the accounts that made them; a credential, as an actor has it, as
    the owner and the maker of its key. Ended keys count too. Asks the database once.
    """
    asked: list[tuple[set[str], set[str]]] = []
    for group in groups:
        key_ids = {credential.partition(":")[2] for _, credential in group} - {""}
        names = {name for name, _ in group}.union(*map(owners_named_in, key_ids))
        asked.append((names, key_ids))
    spelled = {text for names, _ in asked for name in names for text in (name, fold(name))}
    prefixes = {key_id for _, key_ids in asked for key_id in key_ids}
    keys = ApiKey.objects.filter(Q(name__in=spelled) | Q(prefix__in=prefixes))
    rows = list(keys.values_list("prefix", "name", "created_by"))
    persons = []
    for names, key_ids in asked:
        folded = {fold(name) for name in names}
        for prefix, name, maker in rows:
            if fold(name) in folded or prefix in key_ids:
                names |= {name, maker} - NOBODY
        persons.append(frozenset(map(fold, names)))
    return persons


def owners_named_in(key_id: str) -> frozenset[str]:
    """Return whose name a key id itself tells: an account's, or an environment key's."""
    if key_id.startswith(ACCOUNT):
        return frozenset({key_id.removeprefix(ACCOUNT)})
    return frozenset(key.name for key in environment_keys() if key.key_id == key_id)


def digest(text: str) -> bytes:
    """Return what is kept and compared of a key: 256 random bits need no slow hash.

    All are of one length, so that comparing them shows none.
    """
    return hashlib.sha256(text.encode()).digest()
