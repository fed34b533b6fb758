"""A request may be asked by several policies: room for their names and reasons."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("approvals_app", "0002_guide_policy")]
    operations = [
        migrations.AlterField(
            "approval",
            "policy",
            models.CharField(max_length=500, help_text="The policies that asked."),
        ),
        migrations.AlterField(
            "approval",
            "reason",
            models.CharField(max_length=1000, help_text="Why sign-off is needed."),
        ),
    ]
