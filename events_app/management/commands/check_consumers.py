"""Readers that are ahead of the log after a restore."""

from typing import Any

from django.core.management.base import CommandError

from events_app.consumers import positions
from orchestrator_site.core import times
from orchestrator_site.management.base import OPERATOR, ServiceCommand


class Command(ServiceCommand):
    help = (
        "List the named consumers and webhooks whose place the log does not have, as after a "
        "restore from an older copy; the exit status is 1 if there are any. With --reset, have one "
        "of them go on after --to."
    )
    arguments = {
        "--reset": {"metavar": "NAME", "help": "The name of a consumer, or the id of a webhook."},
        "--to": {
            "metavar": "PLACE",
            "help": (
                "With --reset: `head` for what comes from now on, `oldest` for all that is kept, "
                "or a position."
            ),
        },
    }

    def handle(self, **options: Any) -> None:
        self.count = 0
        super().handle(**options)
        if self.count:
            raise SystemExit(1)

    def perform(self, **options: Any) -> dict[str, Any]:
        name, to = options["reset"], options["to"]
        if (name is None) != (to is None):
            raise CommandError("--reset and --to are given together.")
        if name is not None:
            reader = positions.reset(name=name, to=to, by=OPERATOR, now=times.now())
            return {"reset": reader._asdict()}
        head, readers = positions.ahead()
        self.count = len(readers)
        return {"head": head, "ahead": [reader._asdict() for reader in readers]}

    def text(self, answer: dict[str, Any]) -> str:
        if "reset" in answer:
            return "{kind} {name} goes on after {position}".format(**answer["reset"])
        line = "{kind} {name} (of {owner}) is at {position}\n"
        lines = "".join(line.format(**row) for row in answer["ahead"])
        return f"{lines}{len(answer['ahead'])} reader(s) ahead of the log's head {answer['head']}"
