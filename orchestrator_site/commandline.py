"""The command line: what an operator can mend is one sentence, not a traceback."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import InterfaceError, OperationalError


def main(arguments: list[str] | None = None) -> None:
    """Run a management command. arguments: as `sys.argv`, which it is by default."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
    given = sys.argv if arguments is None else arguments
    try:
        execute_from_command_line(given)
    except (ImproperlyConfigured, OperationalError, InterfaceError) as fault:
        if "--traceback" in given:
            raise
        sys.exit(sentence(fault))


def sentence(fault: Exception) -> str:
    """Return what is wrong, and what to do about it."""
    if isinstance(fault, ImproperlyConfigured):
        return str(fault)
    from orchestrator_site.infra import storage  # it reads the settings, which may be what is wrong

    return storage.sentence(fault)
