"""What Celery runs for the site: forgetting answers that are kept no longer."""

from celery import shared_task

from orchestrator_site.api import idempotency
from orchestrator_site.core import times
from orchestrator_site.core.pacing import Pace

STEPS = 50  # in one run, so that a stop need not wait long


@shared_task
def prune_answers() -> None:
    """Forget the idempotency answers that are older than a day; run hourly, in small steps.

    Where more are left after some steps it is sent for again.
    """
    rest = Pace()
    for _ in range(STEPS):
        if not idempotency.prune_answers(now=times.now()):
            return
        rest()
    prune_answers.delay()
