"""What Celery runs for the ledger."""

from celery import shared_task

from events_app import ledger


@shared_task
def number_events() -> None:
    """Beat: give committed events their place, so that counters stay fresh when nobody reads."""
    ledger.number_events()
