#!/usr/bin/env python
"""Run an administrative command of Orchestrator."""

import os
import sys


def main() -> None:
    """Hand the command line to Django."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("Django is not installed here. Run `make up`, or `pip install -e .` first.")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
