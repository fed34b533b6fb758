"""Make an API key by hand."""

import json
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestrator_site.access import services
from orchestrator_site.core import times
from orchestrator_site.core.actors import Role
from orchestrator_site.core.errors import DomainError
from orchestrator_site.management.base import add_as, operator


class Command(BaseCommand):
    """See `help`."""

    help = "Make an API key for a principal and show it, this one time."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--name", required=True, help="Whose key it is, such as dev-agent-1.")
        parser.add_argument(
            "--role",
            choices=list(Role),
            default=Role.AGENT,
            help="What it may do (default: agent).",
        )
        parser.add_argument(
            "--expires-days", type=int, help="Days until it ends (default: it does not)."
        )
        add_as(parser)
        parser.add_argument("--json", action="store_true", help="Answer as JSON.")

    def handle(self, **options: Any) -> None:
        """Make the key."""
        now, days = times.now(), options["expires_days"]
        try:
            expires_at = None if days is None else now + timedelta(days=days)
            by = operator(options["username"])
            key, text = services.create_api_key(
                name=options["name"], role=options["role"], expires_at=expires_at, by=by, now=now
            )
        except (DomainError, OverflowError) as refusal:
            raise CommandError(str(refusal)) from None
        if options["json"]:
            ends = key.expires_at.isoformat() if key.expires_at else None
            shown = {
                "api_key": text,
                "prefix": key.prefix,
                "name": key.name,
                "role": key.role,
                "expires_at": ends,
            }
            self.stdout.write(json.dumps(shown))
        else:
            self.stdout.write(
                f"{text}\nX-API-Key of {key.name} ({key.role}); it cannot be shown again."
            )
