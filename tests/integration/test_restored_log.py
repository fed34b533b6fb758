"""After a restore from an older copy, nobody who was ahead of it reads on as if nothing had happened."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from events_app.log import sequencing
from events_app.models import Consumer
from events_app.rules import cursor
from orchestrator_site.core.actors import Actor

AHEAD = cursor(1000)


@pytest.mark.parametrize("path", [f"/events?after={AHEAD}", f"/events/stream?after={AHEAD}"])
def test_a_cursor_ahead_of_the_log_is_refused(
    api: Callable[..., Any], make_task: Any, path: str
) -> None:
    make_task()

    answer = api("user").get(path)

    assert (answer.status_code, answer.json()["head"]) == (410, cursor(sequencing.head()))


def test_a_consumer_cannot_start_or_go_on_ahead_of_the_log(
    api: Callable[..., Any], dev: Actor, now: datetime
) -> None:
    agent = api("agent", name=dev.name)

    assert agent.post("/events/consumers", {"name": "c", "start": AHEAD}).status_code == 410
    Consumer.objects.create(name="old", owner=dev.name, position=1000, created_at=now)
    assert agent.post("/events/consumers/old/fetch", {}).status_code == 410
