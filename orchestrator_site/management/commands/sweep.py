from typing import Any

from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.core.management.base import CommandError

from orchestrator_site.management.base import ServiceCommand, SweepCommand


class Command(ServiceCommand):
    help = "Run sweeps of the service at once, such as `check_slas`; --all runs every one."
    arguments = {
        "names": {"nargs": "*", "metavar": "NAME", "help": "Which sweeps."},
        "--all": {"action": "store_true", "help": "All, as beat would start them."},
    }

    def perform(self, **options: Any) -> dict[str, Any]:
        self.known = sweeps()
        names = list(self.known) if options["all"] else options["names"]
        if not names or (unknown := set(names) - set(self.known)):
            fault = f"There is no sweep {min(unknown)}." if names else "Name a sweep, or say --all."
            raise CommandError(f"{fault} The sweeps are: {', '.join(self.known)}.")
        return {name: self.known[name].perform() for name in names}

    def text(self, answer: dict[str, Any]) -> str:
        return "\n".join(self.known[name].text(counted) for name, counted in answer.items())


def sweeps() -> dict[str, SweepCommand]:
    """Return the commands of the jobs that beat starts, by name; a job without counts has none."""
    apps = get_commands()
    jobs = (
        str(entry["task"]).rpartition(".")[2] for entry in settings.CELERY_BEAT_SCHEDULE.values()
    )
    commands = {name: load_command_class(apps[name], name) for name in jobs if name in apps}
    return {name: one for name, one in commands.items() if isinstance(one, SweepCommand)}
