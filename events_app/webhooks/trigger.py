"""Sends a message to the workers when there may be something for webhooks: seldom, and never in a request's way."""

import contextlib
import os
import threading
import time

from celery import current_app
from django.core.cache import cache
from django.db import connection

from events_app.webhooks.services import anyone_subscribed
from orchestrator_site.infra import wakeups

JOB = "events_app.jobs.deliver_webhooks"
PAUSE = 0.05  # seconds between two messages of a process
UNDERWAY = "webhooks:nudged"  # in the cache while a message waits for a worker: none is sent on top
EXPIRES = 5  # seconds; then the sweep has done the work


class DeliveryTrigger:
    """One thread that gathers the wake-ups of this process."""

    def __init__(self) -> None:
        self._ready, self._lock, self._pid = threading.Event(), threading.Lock(), 0

    def hear(self, topics: set[str]) -> None:
        """Take a wake-up; never blocks, never fails."""
        if wakeups.EVENTS not in topics:
            return
        with self._lock:
            if self._pid != os.getpid():  # first use, or first use after a fork
                self._pid = os.getpid()
                threading.Thread(target=self._run, name="nudger", daemon=True).start()
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
    """Ask a worker to deliver, unless nobody has subscribed or one was asked already; return whether it was."""
    if not anyone_subscribed() or not cache.add(UNDERWAY, 1, timeout=EXPIRES):
        return False
    current_app.send_task(JOB, expires=EXPIRES)
    return True


def delivery_started() -> None:
    """Note that a worker is at it: what comes from now on is worth a message again."""
    cache.delete(UNDERWAY)


trigger = DeliveryTrigger()
