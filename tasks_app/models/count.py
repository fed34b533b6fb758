"""How many tasks there are of each status, kept by the log."""

from django.db import models


class TaskCount(models.Model):
    """How many tasks have a status, counted by the log and never by a scan."""

    name = models.CharField(max_length=20, primary_key=True)
    number = models.BigIntegerField(default=0)
