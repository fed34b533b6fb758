"""What operators do to many tasks at once."""

from django.db import models


class BulkOperation(models.Model):
    """One thing that is done to many tasks, and how far it has come."""

    verb = models.CharField(max_length=8, choices=[("requeue", "Requeue"), ("cancel", "Cancel")])
    params = models.JSONField(help_text="What the service is told besides, such as the reason.")
    actor = models.JSONField(help_text="Name, role, door, assurance and credential.")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    total = models.PositiveIntegerField()
    done = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    refusal = models.TextField(blank=True, default="", help_text="Why the first was refused.")

    @property
    def left(self) -> int:
        """Return how many tasks are left."""
        return self.total - self.done - self.refused


class BulkTasks(models.Model):
    """The tasks of a bulk operation. A row of its own, so that counting one does not write them."""

    operation = models.OneToOneField(BulkOperation, on_delete=models.CASCADE, related_name="tasks")
    pks = models.JSONField()
