"""Tasks that wait for others."""

from django.db import models

from tasks_app.models.task import Task


class Dependency(models.Model):
    """A task that waits for another one to be completed."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="dependencies")
    depends_on = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="dependents")
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "dependencies"
        constraints = [
            models.UniqueConstraint(fields=["task", "depends_on"], name="dependency_once")
        ]


class Settlement(models.Model):
    """An ended task with dependents that are not settled yet."""

    task = models.OneToOneField(Task, on_delete=models.CASCADE, related_name="+")
