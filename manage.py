#!/usr/bin/env python
"""Run an administrative command of Orchestrator."""

import sys


def main() -> None:
    """Hand the command line over."""
    try:
        from orchestrator_site.commandline import main as run
    except ImportError:
        sys.exit("Django is not installed here. Run `make up`, or `pip install -e .` first.")
    run()


if __name__ == "__main__":
    main()
