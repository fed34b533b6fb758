"""The folder of the embedded store: its owner only, one server at a time, and its faults."""

import fcntl
import os
import stat
from pathlib import Path
from typing import IO

from django.conf import settings

LEAST_FREE = 1_048_576  # bytes; with less a disk counts as full
OTHERS = stat.S_IRWXG | stat.S_IRWXO
LOCK = "lock"

FULL = "The disk that holds {place} is full. Make room."
READ_ONLY = (
    "{place} cannot be written. Let this account write to it and to its folder, or set DATA_DIR."
)
UNOPENED = (
    "{place} cannot be opened. Let this account write to its folder, or set DATA_DIR to another."
)
LOCKED = "Another process writes to {place} for too long. Try again, or end it."
REASONS = {  # by what SQLite says
    "disk is full": FULL,
    "readonly database": READ_ONLY,
    "unable to open": UNOPENED,
    "database is locked": LOCKED,
}
DO = {"full": FULL, "read-only": READ_ONLY, "unreachable": UNOPENED}


class InUse(Exception):
    """Another server runs on this folder."""


def sentence(fault: Exception) -> str:
    """Return what is wrong with the database, and what to do about it."""
    message = str(fault).partition("\n")[0].rstrip(".")
    if settings.DATABASE_URL:
        return f"The database does not answer: {message}."
    place = settings.DATABASES["default"]["NAME"]
    for text, reason in REASONS.items():
        if text in message:
            return reason.format(place=place)
    return fault_of_disk() or f"The database {place} fails: {message}."


def fault_of_disk() -> str:
    """Return what keeps the embedded store from being written and what to do, or nothing."""
    state = state_of_disk()
    place = settings.DATABASES["default"]["NAME"]
    return DO[state].format(place=place) if state else ""


def state_of_disk() -> str:
    """Return `full`, `read-only` or `unreachable` where the store cannot be written, or ""."""
    if settings.DATABASE_URL:
        return ""
    place = Path(str(settings.DATABASES["default"]["NAME"]))
    try:
        disk = os.statvfs(place.parent)
    except OSError:
        return "unreachable"
    if disk.f_bavail * disk.f_frsize < LEAST_FREE:
        return "full"
    return "" if os.access(place, os.W_OK) or not place.exists() else "read-only"


def take_lock(folder: Path) -> IO[str]:
    """Return the lock on a folder, held until it is closed; raise InUse or OSError."""
    lock = os.fdopen(os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600), "r+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        number = lock.read(20).strip()
        lock.close()
        raise InUse(f"process {number}" if number else "another process") from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def tighten(folder: Path) -> list[Path]:
    """Take the rights of others away from the folder and our files in it; return which.

    A folder that everybody may write to, as /tmp, is left as it is.
    """
    names = ["orchestrator.sqlite3*", "django_secret_key", "orchestrator_jwt_secret"]
    files = [path for name in names for path in sorted(folder.glob(name)) if path.is_file()]
    own = [] if folder.stat().st_mode & stat.S_ISVTX else [folder]
    loose = []
    for path in [*own, *files]:
        state = path.stat()
        if state.st_mode & OTHERS and state.st_uid == os.geteuid():
            path.chmod(stat.S_IMODE(state.st_mode) & ~OTHERS)
            loose.append(path)
    return loose
