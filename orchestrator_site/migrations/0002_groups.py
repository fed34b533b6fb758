"""Three groups of console accounts: who looks, who decides, who operates."""

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations

APPS = ("orchestrator_site", "events_app", "approvals_app", "tasks_app")
SEEN = {
    "events_app": ["event", "subscription", "delivery"],
    "approvals_app": ["approval", "approvalpolicy"],
    "tasks_app": ["task", "agent", "routingrule"],
    "orchestrator_site": ["apikey", "principal"],
}
LOOK = [f"{app}.view_{model}" for app, models in SEEN.items() for model in models]
GROUPS = {
    "Viewers": LOOK,
    "Approvers": [*LOOK, "approvals_app.decide_approval"],
    "Operators": [
        *LOOK,
        "tasks_app.operate_task",
        *(f"tasks_app.{verb}_routingrule" for verb in ("add", "change", "delete")),
        *(f"tasks_app.{verb}_agent" for verb in ("add", "change")),
        *(f"approvals_app.{verb}_approvalpolicy" for verb in ("add", "change", "delete")),
        *(f"orchestrator_site.{verb}_apikey" for verb in ("add", "change")),
        *(f"orchestrator_site.{verb}_principal" for verb in ("add", "change", "delete")),
    ],
}


def add_groups(apps: Any, schema_editor: Any) -> None:
    database = schema_editor.connection.alias
    make_permissions(apps, database)
    group, permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    for name, wanted in GROUPS.items():
        made, _ = group.objects.using(database).get_or_create(name=name)
        made.permissions.add(*(find(permission, label, database) for label in wanted))


def make_permissions(apps: Any, database: str) -> None:
    # Django makes them after the last migration; the groups need them now.
    for label in APPS:
        config = apps.get_app_config(label)
        config.models_module = True
        create_permissions(config, apps=apps, using=database, verbosity=0)
        config.models_module = None


def find(permission: Any, label: str, database: str) -> Any:
    app, codename = label.split(".")
    return permission.objects.using(database).get(content_type__app_label=app, codename=codename)


class Migration(migrations.Migration):
    dependencies = [
        ("orchestrator_site", "0001_access"),
        ("events_app", "0004_webhooks"),
        ("approvals_app", "0001_initial"),
        ("tasks_app", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(add_groups, migrations.RunPython.noop)]
