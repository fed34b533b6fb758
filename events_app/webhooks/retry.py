"""When a failed delivery is tried again. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

DAY = timedelta(days=1)
JITTER = 0.2  # of the wait, either way


def next_attempt_at(
    *,
    attempts: int,
    now: datetime,
    waits: Sequence[int],
    jitter: float,
    retry_after: timedelta | None,
) -> datetime | None:
    """Return when to try again after so many failed attempts, None after the last.

    waits: seconds after the first, second, … attempt. jitter: -1 to 1, the part of JITTER that is
    used. retry_after: what the receiver asked for; it may lengthen the wait, not shorten it.
    """
    if attempts > len(waits):
        return None
    wait = timedelta(seconds=waits[attempts - 1] * (1 + JITTER * jitter))
    return now + max(wait, retry_after or wait)


def retry_after(header: str, *, now: datetime) -> timedelta | None:
    """Return the wait that a `Retry-After` header asks for, at most a day; None if it has none."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:9])), DAY)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return min(max(at.replace(tzinfo=at.tzinfo or UTC) - now, timedelta(0)), DAY)
