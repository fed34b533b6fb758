"""Call a module of this folder with Django set up: `python -m tests.bench.inside fill 1000000`."""

import importlib
import os
import sys

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
    django.setup()
    importlib.import_module(f"tests.bench.{sys.argv[1]}").main(*sys.argv[2:])
