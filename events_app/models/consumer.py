"""Named consumers and what they have been handed."""

from datetime import datetime, timedelta

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from events_app.models.position import Bookmark


class ConsumerQuerySet(models.QuerySet["Consumer"]):
    """Consumers, by how lately they fetched."""

    def live(self, now: datetime) -> "ConsumerQuerySet":
        """Return those that fetched lately; for the others no events are kept."""
        seen = Coalesce(F("fetched_at"), F("created_at"))
        return self.annotate(seen_at=seen).filter(seen_at__gt=now - Consumer.ABANDONED_AFTER)


class Consumer(Bookmark):
    """A named reader: what it has been handed, and what it has not acknowledged yet."""

    ABANDONED_AFTER = timedelta(days=30)

    name = models.CharField(max_length=64, unique=True)
    owner = models.CharField(
        max_length=128, help_text="The principal whose programs read under this name."
    )
    types = models.JSONField(default=list, help_text="Type patterns; empty for all.")
    position = models.BigIntegerField(help_text="How far it has been handed out.")
    ack_seconds = models.PositiveIntegerField(default=60)
    max_deliveries = models.PositiveSmallIntegerField(default=5)
    created_at = models.DateTimeField()
    fetched_at = models.DateTimeField(null=True, blank=True)

    objects = ConsumerQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


class ConsumerDeliveryQuerySet(models.QuerySet["ConsumerDelivery"]):
    """Deliveries, by their state."""

    def in_flight(self) -> "ConsumerDeliveryQuerySet":
        return self.filter(parked_at__isnull=True)

    def parked(self) -> "ConsumerDeliveryQuerySet":
        return self.filter(parked_at__isnull=False)


class ConsumerDelivery(models.Model):
    """An event that a consumer was handed and has not acknowledged; then the row is deleted."""

    consumer = models.ForeignKey(Consumer, on_delete=models.CASCADE, related_name="deliveries")
    event_id = models.CharField(max_length=40)
    position = models.BigIntegerField()
    deliveries = models.PositiveSmallIntegerField(default=1)
    due_at = models.DateTimeField(help_text="Handed out again from here on.")
    parked_at = models.DateTimeField(null=True, blank=True)

    objects = ConsumerDeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "consumer deliveries"
        constraints = [
            models.UniqueConstraint(fields=["consumer", "position"], name="consumer_delivery_once")
        ]
        indexes = [
            models.Index(
                fields=["consumer", "due_at"],
                condition=Q(parked_at__isnull=True),
                name="consumer_due",
            ),
            models.Index(fields=["consumer", "event_id"], name="consumer_event"),
        ]

    def __str__(self) -> str:
        return f"{self.event_id} to {self.consumer_id}"
