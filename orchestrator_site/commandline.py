"""The command line of `manage.py` and `orchestrator-server`."""

import os

from django.core.management import execute_from_command_line

from orchestrator_site.config.startup import one_sentence


def main(arguments: list[str] | None = None) -> None:
    """Run a management command. arguments: as `sys.argv`, which it is by default."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
    with one_sentence():
        execute_from_command_line(arguments)
