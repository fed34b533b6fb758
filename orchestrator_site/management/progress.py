"""Commands that work for long give way, say how far they are, and may be stopped."""

import contextlib
import time
from collections.abc import Callable, Iterator

from django.core.management.base import CommandError

from orchestrator_site.core.pacing import Pace

SAY_EVERY = 1.0  # seconds
INTERRUPTED = 130  # the exit status that shells give to Ctrl-C


class Progress(Pace):
    """A pace that says now and then how far it is."""

    def __init__(self, say: Callable[[str], object], what: str, *, of: int) -> None:
        """say: takes a line. what: such as `task(s) removed`. of: how many there will be."""
        super().__init__()
        self._say, self._what, self._of = say, what, of
        self._said, self.done = time.monotonic(), 0

    def __call__(self, done: int = 0) -> None:
        self.done = done
        if time.monotonic() - self._said >= SAY_EVERY:
            self._said = time.monotonic()
            self._say(f"{done:,} of {self._of:,} {self._what}")
        super().__call__(done)

    @contextlib.contextmanager
    def stoppable(self) -> Iterator[None]:
        """Let Ctrl-C end the command with one sentence: each step is complete, or was not done."""
        try:
            yield
        except KeyboardInterrupt:
            done = f"{self.done:,} of {self._of:,} {self._what}"
            sentence = f"Stopped: {done}. Run it again to go on."
            raise CommandError(sentence, returncode=INTERRUPTED) from None
