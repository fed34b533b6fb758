"""How the console looks: its own colours, its own files only, and its menu."""

from typing import Any

DASHBOARD = "orchestrator_site.dashboard"


def pages(*pages: tuple[str, str, str, str]) -> list[dict[str, Any]]:
    """Return entries of the menu. pages: title, icon, path below /admin/, who sees it."""
    return [
        {
            "title": title,
            "icon": icon,
            "link": f"/admin/{path}/",
            "permission": f"{DASHBOARD}.{permission}",
        }
        for title, icon, path, permission in pages
    ]


APPROVALS = [
    {"title": "Overview", "icon": "space_dashboard", "link": "/admin/"},
    {
        "title": "Approvals",
        "icon": "approval",
        "link": "/admin/approvals_app/approval/",
        "badge": f"{DASHBOARD}.pending_badge",
        "badge_variant": "warning",
        "active": f"{DASHBOARD}.in_inbox",
        "permission": f"{DASHBOARD}.sees_approvals",
    },
    {
        "title": "Decisions",
        "icon": "gavel",
        "link": "/admin/approvals_app/approval/?status=decided",
        "active": f"{DASHBOARD}.in_history",
        "permission": f"{DASHBOARD}.sees_approvals",
    },
]
WORK = pages(
    ("Tasks", "checklist", "tasks_app/task", "sees_tasks"),
    ("Events", "history", "events_app/event", "sees_events"),
    ("Webhooks", "webhook", "events_app/subscription", "sees_webhooks"),
)
RULES = pages(
    ("Routing", "alt_route", "tasks_app/routingrule", "sees_rules"),
    ("Agents", "smart_toy", "tasks_app/agent", "sees_agents"),
    ("Approval policies", "policy", "approvals_app/approvalpolicy", "sees_policies"),
)
ACCESS = pages(
    ("API keys", "key", "orchestrator_site/apikey", "sees_keys"),
    ("Restricted principals", "person_off", "orchestrator_site/principal", "sees_principals"),
    ("Accounts", "group", "auth/user", "is_superuser"),
    ("Groups", "badge", "auth/group", "is_superuser"),
)
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
