"""How many requests a principal has waiting: a cap, so that nobody can bury those of others."""

import threading
import time

from django.conf import settings

from approvals_app.errors import TooManyPending
from approvals_app.models import Approval

FRESH = 10.0  # seconds a count is added to in memory before it is asked for anew
MOST_NAMES = 10_000


class PendingCounts:
    """Counts by requester. Asked for seldom, and always before somebody is refused.

    Each process has its own, so several may let in some more than the cap.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, int]] = {}  # name -> good until (monotonic), count

    def add(self, name: str, *, unstored: int) -> None:
        """Count one more request; raise TooManyPending.

        unstored: how many of this name have been counted, but are stored only after this one.
        """
        limit = settings.MAX_PENDING_APPROVALS
        until, count = self._known.get(name, (0.0, 0))
        if time.monotonic() >= until or count >= limit:
            until = time.monotonic() + FRESH
            count = Approval.objects.pending_of(name, most=limit) + unstored
        if count >= limit:
            raise TooManyPending(
                f"{name} has {limit} requests for sign-off waiting, which is the most. "
                "Try again when some have been decided.",
                pending=count,
            )
        with self._lock:
            if len(self._known) >= MOST_NAMES:
                self._known.clear()
            self._known[name] = until, count + 1


pending_counts = PendingCounts()
