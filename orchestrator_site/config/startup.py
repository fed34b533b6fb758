"""What keeps a process from starting, or a command from working, is one sentence."""

import contextlib
import sys
from collections.abc import Iterator

from django.core.exceptions import ImproperlyConfigured
from django.db import InterfaceError, OperationalError


@contextlib.contextmanager
def one_sentence() -> Iterator[None]:
    """End the process with one sentence, not a traceback, where an operator can mend the cause.

    `--traceback` on the command line shows where it is.
    """
    try:
        yield
    except (ImproperlyConfigured, OperationalError, InterfaceError) as fault:
        if "--traceback" in sys.argv:
            raise
        sys.exit(sentence(fault))


def sentence(fault: Exception) -> str:
    """Return what is wrong, and what to do about it."""
    if isinstance(fault, ImproperlyConfigured):
        return str(fault)
    from orchestrator_site.infra import storage  # it reads the settings, which may be what is wrong

    return storage.sentence(fault)
