"""What the commands share: an answer as text or JSON; a refusal as a sentence and exit status 1."""

import json
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError

from orchestrator_site.auth.accounts import find_account
from orchestrator_site.core import times
from orchestrator_site.core.actors import Actor, Assurance, Door, Role
from orchestrator_site.core.errors import DomainError

# Whoever may run commands on this machine, when no account is named.
OPERATOR = Actor("command", Role.ADMIN, Door.COMMAND, Assurance.PERSONAL, "command")
ROLE = {"choices": list(Role), "default": Role.AGENT, "help": "What it may do (default: agent)."}


class ServiceCommand(BaseCommand):
    """A command that makes one service call.

    `arguments` are argparse's, by name. `perform` returns what `--json` shows; `message` is the
    sentence for people, with the answer's fields in braces. With `account_help` there is `--as`,
    and `perform` gets the actor as `by`; where `needs_account`, nobody else may do it.
    staff_role: of accounts that are not superusers.
    """

    arguments: Mapping[str, Mapping[str, Any]] = {}
    message = ""
    account_help = ""
    needs_account = False
    staff_role = Role.USER

    def add_arguments(self, parser: CommandParser) -> None:
        for name, options in self.arguments.items():
            parser.add_argument(name, **options)
        if self.account_help:
            parser.add_argument(
                "--as",
                dest="username",
                required=self.needs_account,
                metavar="USERNAME",
                help=self.account_help,
            )
        parser.add_argument("--json", action="store_true", help="Answer as JSON on one line.")

    def handle(self, **options: Any) -> None:
        times.measure()
        try:
            if self.account_help:
                options["by"] = self.operator(options["username"])
            answer = self.perform(**options)
        except (DomainError, OverflowError) as refusal:  # OverflowError: a time beyond the calendar
            raise CommandError(str(refusal)) from None
        except DatabaseError as fault:
            raise CommandError(f"The database says: {str(fault).partition(chr(10))[0]}") from None
        shown = json.dumps(answer, cls=DjangoJSONEncoder) if options["json"] else self.text(answer)
        self.stdout.write(shown)

    def operator(self, username: str | None) -> Actor:
        """Return the account as who acts, or whoever runs commands here; raise CommandError."""
        if username is None:
            return OPERATOR
        account = find_account(username)
        if account is None:
            raise CommandError(f"There is no active staff account {username}.")
        role = Role.ADMIN if account.is_superuser else self.staff_role
        return Actor(username, role, Door.COMMAND, Assurance.HUMAN, f"account:{username}")

    def perform(self, **options: Any) -> dict[str, Any]:
        raise NotImplementedError

    def text(self, answer: dict[str, Any]) -> str:
        return self.message.format(**answer)


class SweepCommand(ServiceCommand):
    """A sweep of the beat schedule, by hand; `perform` returns what it counted.

    `sweep` finds these commands by the names of the jobs that beat starts.
    """
