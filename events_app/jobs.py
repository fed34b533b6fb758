"""What Celery runs for the ledger."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from events_app import ledger, retention


@shared_task
def number_events() -> None:
    """Beat: give committed events their place, so that counters stay fresh when nobody reads."""
    ledger.number_events()


@shared_task
def prune_events() -> None:
    """Beat, once a day: delete the events that are older than EVENTS_KEPT_DAYS; 0 keeps all."""
    if settings.EVENTS_KEPT_DAYS:
        retention.prune(older_than=timedelta(days=settings.EVENTS_KEPT_DAYS), now=timezone.now())
