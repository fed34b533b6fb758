"""A sweep without pause, in a process of its own: `python -m tests.faults.sweeper`, until it is
killed.
"""

import os
import time

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
    import django

    django.setup()
    from django.utils import timezone

    from tasks_app.services import leases
    from tests.faults.planted import FAULTS

    if planted := os.environ.get("PLANTED_FAULT"):
        FAULTS[planted]()
    end = time.monotonic() + 600
    while time.monotonic() < end:
        leases.requeue_lost_leases(now=timezone.now())
        time.sleep(0.002)
