"""The service on an event loop that writes down what held it up: `-m tests.support.slow_loop up`.

The loop is in asyncio's debug mode, which also finds calls from a wrong thread. What takes longer
than 20 ms is a line of the file that SLOW_LOG names. Time in which the machine did something else
although the loop was ready to run does not count, where the system tells it.
"""

import asyncio
import logging
import os
import time
from typing import Any

from orchestrator_site.commandline import main

LONGEST = 0.02  # seconds that one step on the loop may take
SCHEDULED = "/proc/thread-self/schedstat"  # nanoseconds: run, ready but not run, and a count


class DebuggedLoop(asyncio.SelectorEventLoop):
    """An event loop that writes down what is slow."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.slow_callback_duration = LONGEST
        logging.getLogger("asyncio").addHandler(logging.FileHandler(os.environ["SLOW_LOG"]))

    def time(self) -> float:
        return time.monotonic() - seconds_not_run()

    def set_debug(self, enabled: bool) -> None:
        super().set_debug(True)  # uvicorn switches it off


def seconds_not_run() -> float:
    """Return how long this thread was ready while others had the machine, 0 if nobody knows."""
    try:
        with open(SCHEDULED, encoding="ascii") as file:
            return int(file.read().split()[1]) / 1e9
    except OSError:
        return 0.0


if __name__ == "__main__":
    asyncio.SelectorEventLoop = DebuggedLoop
    main()
