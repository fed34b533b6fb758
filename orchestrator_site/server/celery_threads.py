"""The Celery worker and beat as threads of this process, for a machine without a broker server."""

import threading
from collections.abc import Callable

from celery.beat import Service
from celery.worker import WorkController, state

from orchestrator_site.celery import app

CONCURRENCY = 4


class EmbeddedCelery:
    """What `celery worker` and `celery beat` do, in this process."""

    dead = ""  # the part that ended although nobody asked it to

    def __init__(self, *, worker: bool, beat: bool) -> None:
        self.stopping = False
        self.beat = new_beat() if beat else None
        self.parts = {"worker": new_worker().start} if worker else {}
        if self.beat:
            self.parts["beat"] = self.beat.start
        self.threads: list[threading.Thread] = []

    @property
    def names(self) -> list[str]:
        """Return which parts run here."""
        return list(self.parts)

    def start(self, *, on_death: Callable[[], None]) -> None:
        """Start the threads. on_death: called from the thread of a part that ended by itself."""
        for name in self.parts:
            thread = threading.Thread(
                target=self.run, args=[name, on_death], name=name, daemon=True
            )
            self.threads.append(thread)
            thread.start()

    def run(self, name: str, on_death: Callable[[], None]) -> None:
        """Run one part until it ends."""
        app.set_current()
        try:
            self.parts[name]()
        finally:
            if not self.stopping:
                self.dead = name
                on_death()

    def stop(self) -> None:
        """Ask the parts to end, and return at once."""
        self.stopping = True
        state.should_stop = 0  # the exit status; the worker's loop reads it
        if self.beat:
            self.beat.stop()

    def join(self) -> None:
        """Wait until the running jobs have ended, and the threads with them."""
        for thread in self.threads:
            while thread.is_alive():
                wake_worker()
                thread.join(0.1)


def wake_worker() -> None:
    """Have the worker's loop turn: on messages in memory it waits two seconds for the next one."""
    if app.conf.broker_url.startswith("memory:"):
        app.control.broadcast("ping")


def new_worker() -> WorkController:
    """Return a worker whose pool is threads."""
    return WorkController(
        app=app,
        pool="threads",
        concurrency=CONCURRENCY,
        without_heartbeat=True,
        without_mingle=True,
        without_gossip=True,
    )


def new_beat() -> Service:
    """Return a beat with its schedule in memory that looks every second whether it is to end."""
    return Service(app, max_interval=1, scheduler_cls="celery.beat:Scheduler", remote_control=False)
