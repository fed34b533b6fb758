"""Every duty that nobody asks for by hand is on the schedule, and reaches the function that does
it.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

import pytest
from django.conf import settings

from orchestrator_site.celery import app
from tests.support.documents import ROOT

PACKAGES = ("orchestrator_site", "events_app", "approvals_app", "tasks_app")
DUTY = re.compile(
    r"(prune|expire|sweep|requeue_lost|check_slas|notice|forget|number|purge|clean_up|route_pending|send_due)(_\w+)?"
    r"|deliver(_webhooks)?|fan_out"
)
BY_HAND = {  # commands that people run, and what runs with another duty
    "prune_tasks": "manage.py prune",
    "prune_batch": "manage.py prune",
    "forget_requests": "manage.py prune",
    "forget_all": "the tests",
}
WAKE_UPS: frozenset[str] = frozenset()  # jobs that run only when something happens


def jobs() -> set[str]:
    """Return the names of our Celery jobs."""
    app.loader.import_default_modules()
    return {name for name in app.tasks if name.startswith(PACKAGES)}


def scheduled() -> set[str]:
    """Return the names of the jobs that beat starts."""
    return {str(entry["task"]) for entry in settings.CELERY_BEAT_SCHEDULE.values()}


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield the module and the tree of every function of ours that is not a method."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in path.parts and "commands" not in path.parts:
                tree = ast.parse(path.read_text(encoding="utf-8"))
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                yield from (
                    (module, node) for node in tree.body if isinstance(node, ast.FunctionDef)
                )


def names_in(node: ast.AST) -> set[str]:
    """Return the names and attributes a tree mentions."""
    found = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return found | {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}


def reached() -> set[str]:
    """Return the names of the functions that a job on the schedule calls, directly or not."""
    mentions: dict[str, set[str]] = defaultdict(set)
    for module, node in functions():
        if not module.endswith(".jobs") or f"{module}.{node.name}" in scheduled() | WAKE_UPS:
            mentions[node.name] |= set().union(*map(names_in, node.body))
    found = {task.rsplit(".", 1)[1] for task in scheduled()}
    ahead = list(found)
    while ahead:
        name = ahead.pop()
        ahead += [other for other in mentions[name] if other in mentions and other not in found]
        found |= mentions[name] & mentions.keys()
    return found


REACHED = reached()


def duties() -> list[str]:
    """Return the functions whose names say that they are to be done again and again."""
    return sorted({node.name for module, node in functions() if DUTY.fullmatch(node.name)})


def test_every_job_is_on_the_schedule() -> None:
    assert jobs() - WAKE_UPS == scheduled()


def test_the_duties_are_found() -> None:
    assert {
        "prune_answers",
        "expire_approvals",
        "requeue_lost_leases",
        "check_slas",
        "deliver",
    } <= set(duties())


@pytest.mark.parametrize("duty", duties())
def test_a_duty_is_reached_by_a_job_on_the_schedule(duty: str) -> None:
    assert duty in REACHED | BY_HAND.keys()


def test_what_is_said_to_be_done_by_hand_exists() -> None:
    assert BY_HAND.keys() <= set(duties())
