"""The Celery app: discovers `jobs.py` in every app, and goes by the clock of the house.

Its own clock is the machine's: set back, beat would stand still until the old time has come again,
and a worker on a machine that is ahead would throw every message away as expired.
"""

import os
from datetime import datetime
from typing import Any

from celery import Celery, signals
from celery.contrib.django.task import DjangoTask

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")

from orchestrator_site.config.startup import one_sentence
from orchestrator_site.core import times


class Job(DjangoTask):
    """A task of ours."""

    abstract = True
    Request = "orchestrator_site.infra.celery_request:Request"


class Jobs(Celery):
    """An app whose schedule and whose messages' expiry go by the clock of the house."""

    task_cls = Job

    def now(self) -> datetime:
        """Return the time that beat and messages go by."""
        return times.now()

    def _load_config(self) -> Any:
        with one_sentence():
            return super()._load_config()


def keep_time(**_: Any) -> None:
    """Measure the time in this process."""
    times.keeper.start()


for beginning in (signals.worker_init, signals.worker_process_init, signals.beat_init):
    beginning.connect(keep_time, weak=False)

app = Jobs("orchestrator")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(related_name="jobs")
