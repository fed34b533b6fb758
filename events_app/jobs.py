"""What Celery runs for the ledger."""

from celery import shared_task
from django.utils import timezone

from events_app import delivering, ledger, nudging


@shared_task
def number_events() -> None:
    """Beat: give committed events their place, so that counters stay fresh when nobody reads."""
    ledger.number_events()


@shared_task
def deliver_webhooks() -> None:
    """Beat, and when an event comes that somebody may want: send webhooks that are due."""
    nudging.nudged()
    delivering.deliver(clock=timezone.now)


@shared_task
def forget_deliveries() -> None:
    """Beat, hourly: forget settled deliveries of events that have been pruned, and secrets that have been replaced."""
    delivering.forget(now=timezone.now())
