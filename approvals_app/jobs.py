"""What Celery runs for approvals."""

from celery import shared_task
from django.utils import timezone

from approvals_app import services


@shared_task
def expire_approvals() -> None:
    """Beat: end requests nobody decided in time."""
    services.expire_approvals(now=timezone.now())
