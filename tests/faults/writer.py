"""Writes events as the house does, in transactions that take their time; some are rolled back.

python -m tests.faults.writer 3 10000 1    (which writer, how many events, seed)

Prints the numbers of the committed events as one JSON list.
"""

import json
import os
import random
import sys
import time
from typing import Any

ROLLED_BACK = 0.1  # share of the transactions; half of them when their event has its number
LONGEST = 0.005  # seconds between the recording and the commit


class Undone(Exception):
    """The transaction is to be rolled back."""


def main() -> None:
    """Write."""
    writer, events, seed = (int(argument) for argument in sys.argv[1:])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
    import django

    django.setup()
    from tests.faults.planted import FAULTS

    if planted := os.environ.get("PLANTED_FAULT"):
        FAULTS[planted]()
    dice = random.Random(f"{seed}/{writer}")
    committed = [number for number in range(events) if write(writer, number, dice)]
    print(json.dumps(committed), flush=True)


def write(writer: int, number: int, dice: random.Random) -> bool:
    """Write one event; return whether it was committed."""
    from django.db import OperationalError, transaction
    from django.utils import timezone

    from events_app.services import change, publish
    from orchestrator_site.core.actors import Actor, Assurance, Door, Role

    by = Actor(f"writer-{writer}", Role.AGENT, Door.API, Assurance.SHARED, "jwt")
    said: dict[str, Any] = {
        "event_type": f"order.w{writer}",
        "source_agent": by.name,
        "payload": {"n": number},
    }
    try:
        with transaction.atomic():
            with change():
                publish(**said, by=by, now=timezone.now())
                time.sleep(dice.uniform(0, LONGEST))
                if dice.random() < ROLLED_BACK / 2:
                    raise Undone
            if dice.random() < ROLLED_BACK / 2:
                raise Undone
    except Undone:
        return False
    except OperationalError as fault:
        if "locked" in str(fault):  # SQLite under more writers than it can bear: nothing was begun
            return False
        raise
    return True


if __name__ == "__main__":
    main()
