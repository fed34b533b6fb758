"""The folder of the embedded store: for its owner only, one server at a time, and what is wrong with it."""

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
    said = str(fault).partition("\n")[0].rstrip(".")
    if settings.DATABASE_URL:
        return f"The database does not answer: {said}."
    place = settings.DATABASES["default"]["NAME"]
    for text, reason in REASONS.items():
        if text in said:
            return reason.format(place=place)
    return fault_of_disk() or f"The database {place} fails: {said}."


def fault_of_disk() -> str:
    """Return what keeps the embedded store from being written and what to do, or nothing."""
    found = state_of_disk()
    place = settings.DATABASES["default"]["NAME"]
    return DO[found].format(place=place) if found else ""


def state_of_disk() -> str:
    """Return `full`, `read-only` or `unreachable` where the embedded store cannot be written, or nothing."""
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
    """Return the lock on a folder, held until it is closed or the process ends; raise InUse or OSError."""
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
    """Take the rights of others away from the folder and the files in it that are ours; return which.

    A folder that everybody may write to, as /tmp, is left as it is.
    """
    names = ["orchestrator.sqlite3*", "django_secret_key", "orchestrator_jwt_secret"]
    files = [path for name in names for path in sorted(folder.glob(name)) if path.is_file()]
    own = [] if folder.stat().st_mode & stat.S_ISVTX else [folder]
    return [path for path in [*own, *files] if tightened(path)]


def tightened(path: Path) -> bool:
    """Take the rights of others away; return whether there were any."""
    found = path.stat()
    if not found.st_mode & OTHERS or found.st_uid != os.geteuid():
        return False
    path.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS)
    return True
