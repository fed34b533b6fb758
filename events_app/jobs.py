"""The Celery jobs of the log and of webhooks."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings

from events_app.log import retention
from events_app.webhooks import fan_out, sender, trigger
from orchestrator_site.core import times
from orchestrator_site.core.pacing import Pace

PRUNE_STEPS = 50  # in one run


@shared_task
def deliver_webhooks() -> None:
    """Beat, and after an event if anyone has subscribed: send webhooks that are due."""
    trigger.delivery_started()
    sender.deliver(clock=times.now)


@shared_task
def forget_deliveries() -> None:
    """Beat, hourly: delete settled deliveries of pruned events, and replaced secrets."""
    fan_out.forget(now=times.now())


@shared_task
def prune_events() -> None:
    """Beat, hourly: delete the events that are older than EVENTS_KEPT_DAYS; 0 keeps all.

    A run ends after some seconds and starts the next, so that a stop need not wait long.
    """
    if not settings.EVENTS_KEPT_DAYS:
        return
    age = timedelta(days=settings.EVENTS_KEPT_DAYS)
    if retention.prune(older_than=age, now=times.now(), steps=PRUNE_STEPS, between=Pace()):
        prune_events.delay()
