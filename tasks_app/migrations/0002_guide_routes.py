"""The guide's three agents and nine routing rules, and a row for each count."""

from typing import Any

from django.db import migrations

AGENTS = {"dev_agent": "Dev Agent", "ops_agent": "Ops Agent", "faq_agent": "FAQ Agent"}
RULES = {
    "bugfix": ("dev_agent", "Bug fixes"),
    "feature": ("dev_agent", "New features"),
    "refactor": ("dev_agent", "Code refactoring"),
    "deployment": ("ops_agent", "Deployments"),
    "monitoring": ("ops_agent", "Monitoring setup"),
    "incident": ("ops_agent", "Incident response"),
    "faq_update": ("faq_agent", "FAQ updates"),
    "documentation": ("faq_agent", "Documentation"),
    "knowledge_sync": ("faq_agent", "Knowledge sync"),
}
COUNTS = (
    "pending",
    "assigned",
    "in_progress",
    "completed",
    "failed",
    "cancelled",
    "sla_warnings",
    "sla_violations",
)


def add_rows(apps: Any, schema_editor: Any) -> None:
    agent, rule, count = (
        apps.get_model("tasks_app", name) for name in ("Agent", "RoutingRule", "TaskCount")
    )
    for name, description in AGENTS.items():
        agent.objects.get_or_create(name=name, defaults={"description": description})
    for task_type, (name, description) in RULES.items():
        rule.objects.get_or_create(
            task_type=task_type, defaults={"agent_id": name, "description": description}
        )
    for name in COUNTS:
        count.objects.get_or_create(name=name)


class Migration(migrations.Migration):
    dependencies = [("tasks_app", "0001_initial")]
    operations = [migrations.RunPython(add_rows, migrations.RunPython.noop)]
