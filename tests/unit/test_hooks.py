"""What the apps ask of each other is asked in every process, whatever it imports."""

import subprocess
import sys

from tests.stores import environment
from tests.support.runs import ROOT

SCRIPT = """
import django
django.setup()
from approvals_app import hooks as approvals
from events_app import hooks as events

def registered():
    values = [*vars(events).values(), *vars(approvals).values()]
    return [repr(value) for value in values if isinstance(value, (list, dict))]

before = registered()
import orchestrator_site.urls, orchestrator_site.celery, orchestrator_site.jobs
assert registered() == before, set(registered()) ^ set(before)
assert events.tallies and events.handlers
"""


def test_every_hook_is_there_once_django_is_set_up() -> None:
    settings = environment() | {"DJANGO_SETTINGS_MODULE": "orchestrator_site.settings"}

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, env=settings, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
