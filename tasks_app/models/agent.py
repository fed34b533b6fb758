"""Agents and the rules that route tasks to them."""

from django.db import models


class Agent(models.Model):
    """A named pool of workers that tasks are routed to."""

    name = models.SlugField(max_length=64, unique=True, help_text="As tasks name it: dev_agent.")
    description = models.CharField(max_length=200, blank=True)
    active = models.BooleanField(
        default=True, help_text="Switched off, its waiting tasks go elsewhere."
    )
    paused = models.BooleanField(
        default=False, help_text="Paused, it keeps its tasks but is handed none."
    )
    concurrency_limit = models.PositiveIntegerField(
        null=True, blank=True, help_text="Most tasks at once; empty for any."
    )
    silent_after = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Seconds without a sign of life until it counts as silent; empty for never.",
    )
    last_seen_at = models.DateTimeField(null=True, blank=True, editable=False)
    silent_since = models.DateTimeField(null=True, blank=True, editable=False)

    def __str__(self) -> str:
        return self.name


class RoutingRule(models.Model):
    """Which agent takes tasks of a type."""

    task_type = models.SlugField(max_length=64, unique=True)
    description = models.CharField(max_length=200, blank=True)
    agent = models.ForeignKey(
        Agent, on_delete=models.PROTECT, related_name="rules", to_field="name"
    )
    fallback = models.ForeignKey(
        Agent,
        on_delete=models.PROTECT,
        related_name="fallback_rules",
        to_field="name",
        null=True,
        blank=True,
        help_text="Takes over while the agent is switched off or silent.",
    )
    paused = models.BooleanField(
        default=False, help_text="Paused, tasks of this type are kept but not handed out."
    )
    concurrency_limit = models.PositiveIntegerField(
        null=True, blank=True, help_text="Most tasks at once; empty for any."
    )

    def __str__(self) -> str:
        return f"{self.task_type} → {self.agent_id}"
