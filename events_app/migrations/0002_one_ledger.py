"""The one row that says how far the order goes."""

from typing import Any

from django.db import migrations


def open_ledger(apps: Any, schema_editor: Any) -> None:
    apps.get_model("events_app", "Ledger").objects.get_or_create(pk=1)


class Migration(migrations.Migration):
    dependencies = [("events_app", "0001_initial")]
    operations = [migrations.RunPython(open_ledger, migrations.RunPython.noop)]
