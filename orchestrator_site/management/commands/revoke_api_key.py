"""End an API key by hand."""

from typing import Any

from django.core.management.base import CommandParser

from orchestrator_site.access import services
from orchestrator_site.core import times
from orchestrator_site.management.base import ServiceCommand, add_as, operator


class Command(ServiceCommand):
    """See `help`."""

    help = "Revoke an API key at once, and with it the tokens it made."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "prefix", help="Which key: what stands between the first two underscores of its text."
        )
        add_as(parser)
        super().add_arguments(parser)

    def perform(self, **options: Any) -> dict[str, Any]:
        """Revoke."""
        by = operator(options["username"])
        key = services.revoke_api_key(prefix=options["prefix"], by=by, now=times.now())
        return {"prefix": key.prefix, "name": key.name, "revoked_at": key.revoked_at}

    def text(self, answer: dict[str, Any]) -> str:
        """Say which."""
        return f"Revoked ork_{answer['prefix']}_… of {answer['name']}."
