"""The deadline of the task, for the people who decide."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("approvals_app", "0005_search_and_history")]
    operations = [
        migrations.AddField(
            "approval",
            "due_at",
            models.DateTimeField(
                blank=True, null=True, help_text="When the task breaches its SLA."
            ),
        ),
    ]
