"""Operators make, switch, rotate and resend webhooks."""

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations

GIVEN = ("add_subscription", "change_subscription")


def give(apps: Any, schema_editor: Any) -> None:
    database = schema_editor.connection.alias
    config = apps.get_app_config("events_app")
    config.models_module = True
    create_permissions(config, apps=apps, using=database, verbosity=0)
    config.models_module = None
    group, permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    found = permission.objects.using(database).filter(
        content_type__app_label="events_app", codename__in=GIVEN
    )
    for operators in group.objects.using(database).filter(name="Operators"):
        operators.permissions.add(*found)


class Migration(migrations.Migration):
    dependencies = [
        ("orchestrator_site", "0002_groups"),
        ("events_app", "0004_webhooks"),
    ]
    operations = [migrations.RunPython(give, migrations.RunPython.noop)]
