from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError

from orchestrator_site.auth.tokens import mint
from orchestrator_site.core import times
from orchestrator_site.core.names import fault_of
from orchestrator_site.management.base import ROLE, ServiceCommand

MOST_HOURS = 24 * 366


class Command(ServiceCommand):
    help = "Sign a bearer token with ORCHESTRATOR_JWT_SECRET and show it."
    message = "{access_token}"
    arguments = {
        "--user-id": {"required": True, "help": "Whom it is for: the token's sub."},
        "--role": ROLE,
        "--hours": {"type": int, "default": 24, "help": "Hours until it expires (default: 24)."},
    }

    def perform(self, **options: Any) -> dict[str, Any]:
        user_id, hours = options["user_id"], options["hours"]
        if fault := fault_of(user_id):
            raise CommandError(f"--user-id is not a name. {fault}")
        if not 1 <= hours <= MOST_HOURS:
            raise CommandError(f"--hours must be 1 to {MOST_HOURS}.")
        text = mint(
            sub=user_id, role=options["role"], now=times.now(), lifetime=timedelta(hours=hours)
        )
        shown = {"access_token": text, "token_type": "bearer", "expires_in": hours * 3600}
        return shown | {"user_id": user_id, "role": str(options["role"])}
