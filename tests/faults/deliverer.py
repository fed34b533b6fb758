"""A worker that does nothing but send webhooks, until it is killed: `python -m
tests.faults.deliverer`.

What it had in hand when it is killed comes back after LEASE, so that a test need not wait a minute
for it.
"""

import os
import time
from datetime import timedelta

LEASE = 3  # seconds

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
    import django

    django.setup()
    from django.db import OperationalError
    from django.utils import timezone

    from events_app.webhooks import sender

    sender.LEASE = timedelta(seconds=LEASE)
    print("sending", flush=True)
    end = time.monotonic() + 600
    while time.monotonic() < end:
        try:
            sender.deliver(clock=timezone.now)
        except (
            OperationalError
        ):  # of an embedded database, when all write at once; the next turn finds the rest
            time.sleep(0.1)
        time.sleep(0.05)
