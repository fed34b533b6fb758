"""Ask in a thread of its own whether the database answers, so that a frozen one freezes nothing."""

import contextlib
import threading
import time
from collections.abc import Callable

from django.db import connections

PROBE_SECONDS = 2.0  # to wait for an answer
GOOD_FOR = 1.0  # seconds after a question that was answered in which no other is asked
ABANDONED_AFTER = 10.0  # seconds until a question that hangs is asked anew


class ProbeThread(threading.Thread):
    """One question to a store; `good` once it was answered without an error."""

    def __init__(self, ask: Callable[[], None]) -> None:
        super().__init__(name="liveness", daemon=True)
        self._ask, self.good, self.asked_at = ask, False, time.monotonic()

    @property
    def age(self) -> float:
        """Return the seconds since it was asked."""
        return time.monotonic() - self.asked_at

    def is_good_still(self) -> bool:
        """Return whether it was answered, and a moment ago."""
        return self.good and self.age < GOOD_FOR

    def run(self) -> None:
        with contextlib.suppress(Exception):
            self._ask()
            self.good = True


class DatabaseProbe:
    """Answers "does it answer?" within two seconds; however many want to know, one asks."""

    def __init__(self, ask: Callable[[], None]) -> None:
        """ask: raises when the store does not answer, and may hang."""
        self._ask, self._lock = ask, threading.Lock()
        self._question: ProbeThread | None = None

    def __call__(self) -> bool:
        """Return whether the store answers, or did a moment ago."""
        with self._lock:
            if self._question is not None and self._question.is_good_still():
                return True
            question = self._question
            # One that is open, and not for too long, is shared.
            if question is None or not question.is_alive() or question.age >= ABANDONED_AFTER:
                question = self._question = ProbeThread(self._ask)
                question.start()
        question.join(max(0.0, PROBE_SECONDS - question.age))
        return question.good


def ask_database() -> None:
    """Open a connection of its own and read one value."""
    connection = connections.create_connection("default")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        connection.close()


database_answers = DatabaseProbe(ask_database)
