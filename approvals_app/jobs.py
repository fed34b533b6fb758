"""What Celery runs for approvals."""

from celery import shared_task

from approvals_app.services import transitions
from orchestrator_site.core import times


@shared_task
def expire_approvals() -> None:
    """Beat: end requests nobody decided in time."""
    transitions.expire_approvals(now=times.now())
