"""What a group of console accounts may do: words for people, for permissions of Django."""

from collections.abc import Iterable

from django.contrib.auth.models import Group, Permission

LOOK = "look"
MODELS = (
    "approvals_app.approval",
    "approvals_app.approvalpolicy",
    "events_app.delivery",
    "events_app.event",
    "events_app.subscription",
    "orchestrator_site.apikey",
    "orchestrator_site.principal",
    "tasks_app.agent",
    "tasks_app.routingrule",
    "tasks_app.task",
)


def permissions_for(label: str, *verbs: str) -> frozenset[str]:
    """Return permissions on a model, such as `events_app.view_event`."""
    app, model = label.split(".")
    return frozenset(f"{app}.{verb}_{model}" for verb in verbs)


ABILITIES = {
    LOOK: (
        "See everything but accounts",
        frozenset[str]().union(*(permissions_for(one, "view") for one in MODELS)),
    ),
    "decide": ("Approve and reject requests", frozenset({"approvals_app.decide_approval"})),
    "steer": ("Cancel, requeue and reassign tasks", frozenset({"tasks_app.operate_task"})),
    "rules": (
        "Change routing, agents and approval policies",
        permissions_for("tasks_app.routingrule", "add", "change", "delete")
        | permissions_for("tasks_app.agent", "add", "change")
        | permissions_for("approvals_app.approvalpolicy", "add", "change", "delete"),
    ),
    "webhooks": (
        "Make and manage webhooks",
        permissions_for("events_app.subscription", "add", "change"),
    ),
    "access": (
        "Make and revoke API keys, restrict principals",
        permissions_for("orchestrator_site.apikey", "add", "change")
        | permissions_for("orchestrator_site.principal", "add", "change", "delete"),
    ),
}


def abilities_of(group: Group) -> list[str]:
    """Return the abilities of which a group has every permission."""
    rows = group.permissions.all()  # a list has read them along
    held = {f"{row.content_type.app_label}.{row.codename}" for row in rows}
    return [name for name, (_, needed) in ABILITIES.items() if needed <= held]


def set_abilities(group: Group, chosen: Iterable[str]) -> None:
    """Give a group these abilities and take the others; other permissions stay."""
    wanted = frozenset[str]().union(*(ABILITIES[name][1] for name in chosen))
    known = frozenset[str]().union(*(needed for _, needed in ABILITIES.values()))
    rows = Permission.objects.filter(
        content_type__app_label__in={label.partition(".")[0] for label in known}
    )
    found = {
        f"{row.content_type.app_label}.{row.codename}": row
        for row in rows.select_related("content_type")
    }
    group.permissions.remove(*(found[label] for label in known - wanted))
    group.permissions.add(*(found[label] for label in wanted))
