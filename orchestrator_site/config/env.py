"""Readers of the environment. Each fails naming the variable, never showing a secret."""

import errno
import ipaddress
import os
import secrets
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

FLAGS = dict.fromkeys(("1", "true", "yes", "on"), True)
FLAGS |= dict.fromkeys(("0", "false", "no", "off"), False)
PREPARED_AFTER = 5  # times a statement is carried out


def text(name: str, default: str = "", *, choices: tuple[str, ...] = ()) -> str:
    """Return the variable, or the default when it is unset or empty."""
    value = os.environ.get(name, "").strip() or default
    if choices and value not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}.")
    return value


def flag(name: str, default: bool = False) -> bool:
    """Return the variable as yes or no."""
    value = text(name, str(default)).lower()
    if value not in FLAGS:
        raise ImproperlyConfigured(f"{name} must be true or false.")
    return FLAGS[value]


def integer(name: str, default: int, *, least: int = 0) -> int:
    """Return the variable as a whole number of at least `least`."""
    value = text(name, str(default))
    if not value.isascii() or not value.isdigit() or int(value) < least:
        raise ImproperlyConfigured(f"{name} must be a whole number of at least {least}.")
    return int(value)


def number(name: str, default: float) -> float:
    """Return the variable as a number above zero."""
    try:
        value = float(text(name, str(default)))
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise ImproperlyConfigured(f"{name} must be a number above 0.")
    return value


def words(name: str, default: str = "") -> list[str]:
    """Return the variable as a list; items are separated by commas."""
    return [item.strip() for item in text(name, default).split(",") if item.strip()]


def integers(name: str, default: str) -> tuple[int, ...]:
    """Return the variable as whole numbers above zero."""
    values = words(name, default)
    if not all(value.isascii() and value.isdigit() and int(value) > 0 for value in values):
        raise ImproperlyConfigured(f"{name} must list whole numbers above 0, separated by commas.")
    return tuple(map(int, values))


def networks(name: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Return the variable as networks; a single address is a network too."""
    try:
        return tuple(map(ipaddress.ip_network, words(name)))
    except ValueError:
        raise ImproperlyConfigured(
            f"{name} must list addresses or networks such as 10.0.0.0/8."
        ) from None


def secret(name: str, kept_in: Path | None = None) -> str:
    """Return a secret from `NAME`, or from the file that `NAME_FILE` names.

    kept_in: a folder in which one is made and kept when neither is set (development only).
    """
    path = text(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE cannot be read: {error.strerror}.") from None
    return text(name) or (kept_secret(kept_in / name.lower()) if kept_in else "")


def is_made_up(name: str) -> bool:
    """Return whether nobody gave this secret, so that a development server makes one."""
    return not text(name) and not text(f"{name}_FILE")


def kept_secret(path: Path) -> str:
    """Return the secret kept in a file only its owner can read, made on first use."""
    folder(path.parent)
    try:
        make_secret(path)
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise unusable(path, error) from None


def make_secret(path: Path) -> None:
    """Make a secret, unless there is one."""
    try:
        file = os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w")
    except FileExistsError:
        return
    try:
        with file:
            file.write(secrets.token_urlsafe(48))
    except OSError:
        path.unlink(missing_ok=True)  # half of a secret is none
        raise


def folder(path: Path) -> Path:
    """Return a folder, made for its owner only if it is not there."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise unusable(path, error) from None
    return path


def unusable(path: Path, error: OSError) -> ImproperlyConfigured:
    """Return the refusal of a place under DATA_DIR."""
    if error.errno == errno.ENOSPC:
        return ImproperlyConfigured(
            f"The disk that holds {path} is full. Make room, then start again."
        )
    return ImproperlyConfigured(
        f"{path} cannot be used: {error.strerror}. "
        "Set DATA_DIR to a folder this account can write to."
    )


def database(url: str, *, data_dir: Path, prepared: bool = True) -> dict[str, object]:
    """Return Django's DATABASES entry for `postgres://…`, or the embedded SQLite when empty.

    prepared: whether statements may be prepared on a connection.
    """
    if not url:
        return embedded_database(folder(data_dir) / "orchestrator.sqlite3")
    parts = urlsplit(url)
    try:
        port = parts.port or ""
    except ValueError:
        raise ImproperlyConfigured("DATABASE_URL must name its port as a number.") from None
    if parts.scheme not in ("postgres", "postgresql") or not parts.path.strip("/"):
        raise ImproperlyConfigured(
            "DATABASE_URL must look like postgres://user:password@host:5432/name. In a password, "
            "characters such as @ : / ? # % must be percent-encoded."
        )
    return {
        "ENGINE": "orchestrator_site.infra.postgresql",
        "NAME": unquote(parts.path[1:]),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": port,
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": not prepared,
        "OPTIONS": {
            "connect_timeout": 2,
            "application_name": "orchestrator",
            # Django binds in the client and prepares nothing unless it is told to.
            "server_side_binding": True,
            "prepare_threshold": PREPARED_AFTER if prepared else None,
            **driver_options(parts.query),
        },
    }


def driver_options(query: str) -> dict[str, str]:
    """Return the parameters behind the `?` of DATABASE_URL, which are libpq's, such as sslmode."""
    from psycopg import pq  # only who uses PostgreSQL loads it

    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    known -= {"dbname", "user", "password"}  # they stand before the `?`
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise ImproperlyConfigured(
                f"DATABASE_URL has a parameter that PostgreSQL does not know: {name}."
            )
        if name in options:
            raise ImproperlyConfigured(f"DATABASE_URL gives {name} twice.")
        options[name] = value
    return options


def embedded_database(path: Path) -> dict[str, object]:
    """Return the entry for SQLite in WAL mode, safe for many threads and power loss."""
    pragmas = "journal_mode=WAL synchronous=FULL journal_size_limit=27103364 cache_size=-8000"
    return {
        "ENGINE": "orchestrator_site.infra.sqlite",
        "NAME": path,
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "".join(f"PRAGMA {pragma};" for pragma in pragmas.split()),
        },
        # A file, not memory: threads and processes of the tests share it.
        "TEST": {"NAME": path.with_name(f"test-{os.getpid()}.sqlite3")},
    }
