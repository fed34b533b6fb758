from typing import Any

from orchestrator_site.access import services
from orchestrator_site.core import times
from orchestrator_site.management.base import ServiceCommand


class Command(ServiceCommand):
    help = "Revoke an API key at once, and with it the tokens it made."
    message = "Revoked ork_{prefix}_… of {name}."
    account_help = "The console account that does it."
    arguments = {
        "prefix": {"help": "Which key: what stands between the first two underscores of its text."},
    }

    def perform(self, **options: Any) -> dict[str, Any]:
        key = services.revoke_api_key(prefix=options["prefix"], by=options["by"], now=times.now())
        return {"prefix": key.prefix, "name": key.name, "revoked_at": key.revoked_at}
