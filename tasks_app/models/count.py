"""How many tasks there are of each status, kept by the log."""

from django.db import models
from django.db.models import F


class TaskCount(models.Model):
    """How many tasks have a status, counted as events are numbered and never by a scan."""

    name = models.CharField(max_length=20, primary_key=True)
    number = models.BigIntegerField(default=0)

    @classmethod
    def add(cls, name: str, number: int) -> None:
        """Change one count."""
        if number:
            cls.objects.filter(name=name).update(number=F("number") + number)
