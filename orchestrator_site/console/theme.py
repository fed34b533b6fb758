"""How the console looks: its own colours, its own files only, and its menu."""

from typing import Any

DASHBOARD = "orchestrator_site.dashboard"


def page(title: str, icon: str, label: str, query: str = "", **more: str) -> dict[str, Any]:
    """Return an entry of the menu: the list of a model, for whoever may look at it."""
    app, model = label.split(".")
    return {
        "title": title,
        "icon": icon,
        "link": f"/admin/{app}/{model}/{query}",
        "permission": lambda request: request.user.has_perm(f"{app}.view_{model}"),
        **more,
    }


SUPERUSERS = {"permission": f"{DASHBOARD}.is_superuser"}
APPROVALS = [
    {"title": "Overview", "icon": "space_dashboard", "link": "/admin/"},
    page(
        "Approvals",
        "approval",
        "approvals_app.approval",
        badge=f"{DASHBOARD}.pending_badge",
        badge_variant="warning",
        active=f"{DASHBOARD}.in_inbox",
    ),
    page(
        "Decisions",
        "gavel",
        "approvals_app.approval",
        "?status=decided",
        active=f"{DASHBOARD}.in_history",
    ),
]
WORK = [
    page("Tasks", "checklist", "tasks_app.task"),
    page("Events", "history", "events_app.event"),
    page("Webhooks", "webhook", "events_app.subscription"),
]
RULES = [
    page("Routing", "alt_route", "tasks_app.routingrule"),
    page("Agents", "smart_toy", "tasks_app.agent"),
    page("Approval policies", "policy", "approvals_app.approvalpolicy"),
]
ACCESS = [
    page("API keys", "key", "orchestrator_site.apikey"),
    page("Restricted principals", "person_off", "orchestrator_site.principal"),
    page("Accounts", "group", "auth.user", **SUPERUSERS),
    page("Groups", "badge", "auth.group", **SUPERUSERS),
]
COLORS = {
    "50": "oklch(97.5% .013 235)",
    "100": "oklch(94.5% .028 235)",
    "200": "oklch(89.5% .055 236)",
    "300": "oklch(82% .095 238)",
    "400": "oklch(73% .13 242)",
    "500": "oklch(64% .15 247)",
    "600": "oklch(54.5% .16 253)",
    "700": "oklch(48% .145 256)",
    "800": "oklch(42% .12 257)",
    "900": "oklch(37% .095 257)",
    "950": "oklch(27% .07 258)",
}
UNFOLD = {
    "SITE_TITLE": "Orchestrator",
    "SITE_HEADER": "Orchestrator",
    "SITE_SUBHEADER": "Approval console",
    "SITE_SYMBOL": "hub",
    "SITE_URL": None,
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": "/static/console/favicon.svg"}
    ],
    "STYLES": ["/static/console/console.css"],
    "SCRIPTS": ["/static/console/console.js", "/static/console/access.js"],
    "LOGIN": {"form": "orchestrator_site.console.login.LoginForm"},
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "8px",
    "ENVIRONMENT": f"{DASHBOARD}.environment",
    "DASHBOARD_CALLBACK": f"{DASHBOARD}.fill",
    "COLORS": {"primary": COLORS},
    "SIDEBAR": {
        "navigation": [
            {"items": APPROVALS},
            {"title": "Work", "items": WORK},
            {"title": "Rules", "items": RULES},
            {"title": "Access", "items": ACCESS},
        ],
    },
}
