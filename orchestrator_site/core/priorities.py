"""The priorities of tasks, requests for sign-off and events."""

from django.db.models import TextChoices


class Priority(TextChoices):
    """How urgent; P0 is the most urgent."""

    P0 = "P0", "P0 critical"
    P1 = "P1", "P1 high"
    P2 = "P2", "P2 medium"
    P3 = "P3", "P3 low"
