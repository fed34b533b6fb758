"""Webhooks: subscriptions of a URL to events, and the deliveries to it."""

from datetime import datetime
from typing import ClassVar

from django.db import models
from django.db.models import Q, TextChoices

from events_app.models.position import Bookmark
from orchestrator_site.core.ids import new_id


def new_subscription_id() -> str:
    """Return a new public id, `sub_…`."""
    return new_id("sub")


class Format(TextChoices):
    """How the body of a message is written."""

    JSON = "json"
    CLOUDEVENTS = "cloudevents"


class SubscriptionQuerySet(models.QuerySet["Subscription"]):
    """Which subscriptions."""

    def active(self) -> "SubscriptionQuerySet":
        return self.filter(active=True)

    def due(self, now: datetime) -> "SubscriptionQuerySet":
        """Return the active ones that have something to send now."""
        waiting = Delivery.objects.due(now).filter(subscription=models.OuterRef("pk"))
        return self.active().filter(models.Exists(waiting))


class Subscription(Bookmark):
    """A URL that events are sent to. Its secret is stored readable: it signs messages."""

    subscription_id = models.CharField(
        max_length=40, unique=True, default=new_subscription_id, editable=False
    )
    url = models.CharField(max_length=2048)
    types = models.JSONField(help_text="Type patterns such as `pr.merged`, `task.*` or `*`.")
    format = models.CharField(max_length=12, choices=Format.choices, default=Format.JSON)
    description = models.CharField(max_length=200, blank=True, default="")
    secret = models.CharField(max_length=128, editable=False)
    previous_secret = models.CharField(max_length=128, blank=True, default="", editable=False)
    previous_secret_until = models.DateTimeField(
        null=True, editable=False, help_text="It signs too, until then."
    )
    active = models.BooleanField(default=True)
    disabled_at = models.DateTimeField(null=True)
    disabled_reason = models.CharField(max_length=200, blank=True, default="")
    position = models.BigIntegerField(help_text="How far the log has been looked through.")
    failing_since = models.DateTimeField(null=True, help_text="Nothing has got through since.")
    dead_in_a_row = models.PositiveIntegerField(
        default=0, help_text="Deliveries given up since the last that arrived."
    )
    created_by = models.CharField(max_length=128)
    created_at = models.DateTimeField()

    objects = SubscriptionQuerySet.as_manager()

    class Meta:
        app_label = "events_app"
        verbose_name = "webhook"

    def __str__(self) -> str:
        return self.subscription_id

    @property
    def is_failing(self) -> bool:
        return self.failing_since is not None

    def secrets(self, now: datetime) -> list[str]:
        """Return the secrets that sign now, the newest first."""
        rotating = self.previous_secret_until is not None and now < self.previous_secret_until
        return [self.secret, self.previous_secret] if rotating else [self.secret]


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    """Which deliveries."""

    def pending(self) -> "DeliveryQuerySet":
        return self.filter(status=Delivery.Status.PENDING)

    def due(self, now: datetime) -> "DeliveryQuerySet":
        """Return those to be sent now, also those whose sender has vanished."""
        return self.pending().filter(next_attempt_at__lte=now)

    def start_anew(self, now: datetime) -> int:
        """Make them due with all their attempts before them; they keep their logs."""
        return self.update(
            status=Delivery.Status.PENDING,
            attempts=0,
            next_attempt_at=now,
            settled_at=None,
            claim=models.F("claim") + 1,
        )


class Delivery(models.Model):
    """One event for one subscription: when it is tried next, and how every attempt went."""

    class Status(TextChoices):
        """A dead one stays until it is sent again by hand or the log is pruned."""

        PENDING = "pending"
        DELIVERED = "delivered"
        DEAD = "dead"

    subscription = models.ForeignKey(
        Subscription, on_delete=models.CASCADE, related_name="deliveries"
    )
    event_id = models.CharField(max_length=40)
    event_type = models.CharField(max_length=128)
    position = models.BigIntegerField(help_text="The event's place in the log.")
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.PENDING)
    attempts = models.PositiveIntegerField(default=0, help_text="In the present round of tries.")
    next_attempt_at = models.DateTimeField(
        help_text="While it is being sent: when its sender is given up."
    )
    claim = models.PositiveIntegerField(
        default=0, help_text="Goes up with each sender; only the last one counts."
    )
    log = models.JSONField(
        default=list, help_text="The last attempts: at, status, ms, error, answer."
    )
    created_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, help_text="When it arrived or was given up.")

    KEPT_ATTEMPTS: ClassVar[int] = 20

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        app_label = "events_app"
        verbose_name = "webhook delivery"
        verbose_name_plural = "webhook deliveries"
        constraints = [
            models.UniqueConstraint(fields=["subscription", "event_id"], name="delivery_once")
        ]
        indexes = [
            models.Index(
                fields=["subscription", "next_attempt_at"],
                condition=Q(status="pending"),
                name="delivery_due",
            ),
            models.Index(fields=["subscription", "status", "id"], name="delivery_of_state"),
            models.Index(fields=["position"], name="delivery_position"),
            models.Index(fields=["id"], condition=Q(status="dead"), name="delivery_dead"),
        ]

    def __str__(self) -> str:
        return self.event_id
