"""Which task waits for which."""

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

    def __str__(self) -> str:
        return f"{self.task_id} after {self.depends_on_id}"


class Settlement(models.Model):
    """An ended task with dependents that have not heard of it yet. The row goes when they have."""

    task = models.OneToOneField(Task, on_delete=models.CASCADE, related_name="+")

    def __str__(self) -> str:
        return f"dependents of {self.task_id}"
