"""What the tests of webhooks do again and again."""

from datetime import datetime, timedelta
from typing import Any

from events_app.models import Delivery, Event
from events_app.webhooks import sender

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def deliver(at: datetime) -> int:
    return sender.deliver(clock=lambda: at)


def next_due() -> datetime:
    return (
        Delivery.objects.pending()
        .order_by("next_attempt_at")
        .values_list("next_attempt_at", flat=True)[0]
    )


def happened(event_type: str) -> list[dict[str, Any]]:
    return list(
        Event.objects.filter(event_type=event_type).order_by("pk").values_list("payload", flat=True)
    )
