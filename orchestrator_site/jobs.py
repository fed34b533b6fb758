"""What Celery runs for the site: forgetting answers that are kept no longer."""

from celery import shared_task

from orchestrator_site import services, times


@shared_task
def prune_answers() -> None:
    """Beat, hourly: forget the idempotency answers that are older than a day, a few at a time."""
    while services.prune_answers(now=times.now()):
        pass
