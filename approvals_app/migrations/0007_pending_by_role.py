"""What waits for whom, counted on every page of the console without reading the rows."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("approvals_app", "0006_due_at")]
    operations = [
        migrations.AddIndex(
            "approval",
            models.Index(
                fields=["decider_role", "created_at", "requested_by"],
                condition=models.Q(status="pending"),
                name="approval_of_role",
            ),
        ),
    ]
