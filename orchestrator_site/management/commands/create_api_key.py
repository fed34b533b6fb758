from datetime import timedelta
from typing import Any

from orchestrator_site.access import services
from orchestrator_site.core import times
from orchestrator_site.management.base import ROLE, ServiceCommand


class Command(ServiceCommand):
    help = "Make an API key for a principal and show it, this one time."
    message = "{api_key}\nX-API-Key of {name} ({role}); it cannot be shown again."
    account_help = "The console account that does it."
    arguments = {
        "--name": {"required": True, "help": "Whose key it is, such as dev-agent-1."},
        "--role": ROLE,
        "--expires-days": {"type": int, "help": "Days until it ends (default: it does not)."},
    }

    def perform(self, **options: Any) -> dict[str, Any]:
        now, days = times.now(), options["expires_days"]
        key, text = services.create_api_key(
            name=options["name"],
            role=options["role"],
            expires_at=None if days is None else now + timedelta(days=days),
            by=options["by"],
            now=now,
        )
        ends = key.expires_at.isoformat() if key.expires_at else None
        shown = {"api_key": text, "prefix": key.prefix, "name": key.name, "role": key.role}
        return shown | {"expires_at": ends}
