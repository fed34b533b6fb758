"""After a wake-up, send a Celery message that has a worker deliver webhooks, debounced."""

import contextlib
import os
import threading
import time

from celery import current_app
from django.core.cache import cache
from django.db import connection

from events_app.hooks import on_wakeup
from events_app.webhooks.services import anyone_subscribed
from orchestrator_site.infra import wakeups

JOB = "events_app.jobs.deliver_webhooks"
PAUSE = 0.05  # seconds between two messages of a process
PENDING_KEY = "webhooks:nudged"  # in the cache while a message waits for a worker
EXPIRES = 5  # seconds; then the sweep has done the work


class DeliveryTrigger:
    """A thread that merges the wake-ups of this process into few messages."""

    def __init__(self) -> None:
        self._ready, self._lock, self._pid = threading.Event(), threading.Lock(), 0

    def set(self) -> None:
        """Have a message sent soon; never block, never fail."""
        with self._lock:
            if self._pid != os.getpid():  # first use, or first use after a fork
                self._pid = os.getpid()
                threading.Thread(target=self._run, name="webhook-trigger", daemon=True).start()
        self._ready.set()

    def _run(self) -> None:
        while True:
            self._ready.wait()
            self._ready.clear()
            with contextlib.suppress(Exception):  # the sweep finds what nobody was told of
                request_delivery()
            connection.close()
            time.sleep(PAUSE)


def request_delivery() -> bool:
    """Send a message unless nobody has subscribed or one is on its way; return whether it was."""
    if not anyone_subscribed() or not cache.add(PENDING_KEY, 1, timeout=EXPIRES):
        return False
    current_app.send_task(JOB, expires=EXPIRES)
    return True


def delivery_started() -> None:
    """Note that a worker has begun: later events need a new message."""
    cache.delete(PENDING_KEY)


trigger = DeliveryTrigger()
on_wakeup(wakeups.EVENTS)(trigger.set)
