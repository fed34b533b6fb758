"""How long the road of `POST /tasks` is, counted in calls of our own code."""

import sys
from types import FrameType
from typing import Any

import pytest

from orchestrator_site.infra.group_commit import Inline
from orchestrator_site.server.wsgi_adapter import Answer
from tests.conftest import token
from tests.support.on_loop import posted
from tests.support.runs import ROOT

PACKAGES = ("orchestrator_site", "tasks_app", "approvals_app", "events_app")
FOLDERS = tuple(f"{ROOT / name}/" for name in PACKAGES)
MOST_CALLS, MOST_FILES = 159, 38  # 237 and 39 before what a create costs was looked at


def create(bearer: str) -> Answer:
    """Return the answer of the event loop's adapter to a new task."""
    task = {"type": "bugfix", "payload": {"issue": "1"}, "priority": "P2"}
    return posted("/tasks", task, bearer, Inline())


@pytest.mark.django_db
def test_the_road_of_a_new_task_is_no_longer_than_it_was() -> None:
    bearer = token()
    for _ in range(3):  # so that what is made once is there
        assert create(bearer).status == 200
    calls: list[str] = []
    before = sys.getprofile()

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(FOLDERS) and code.co_name[0] != "<":
            calls.append(code.co_filename)

    sys.setprofile(note)
    try:
        create(bearer)
    finally:
        sys.setprofile(before)

    assert len(calls) <= MOST_CALLS
    assert len(set(calls)) <= MOST_FILES
