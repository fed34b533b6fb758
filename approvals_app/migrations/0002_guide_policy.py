"""The guide's policy: P0 and P1 need one decision by an agent or higher."""

from typing import Any

from django.db import migrations


def add_policy(apps: Any, schema_editor: Any) -> None:
    apps.get_model("approvals_app", "ApprovalPolicy").objects.get_or_create(
        name="Critical and high priority",
        defaults={
            "priorities": ["P0", "P1"],
            "decider_role": "agent",
            "reason": "P0 and P1 tasks need sign-off before they start.",
        },
    )


class Migration(migrations.Migration):
    dependencies = [("approvals_app", "0001_initial")]
    operations = [migrations.RunPython(add_policy, migrations.RunPython.noop)]
