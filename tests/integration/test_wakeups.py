"""Wake-ups to other processes: the first at once, the others gathered, few however many come."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.conf import settings

from orchestrator_site.infra.wakeups import CHANNEL, PAUSE, Relay

pytestmark = pytest.mark.skipif(not settings.REDIS_URL, reason="about Redis")


class Clock:
    """Rests that last until they are let go, and how much time they were to take."""

    def __init__(self) -> None:
        self.rested = 0.0
        self._resting, self._ends = threading.Semaphore(0), threading.Semaphore(0)

    def rest(self, seconds: float) -> None:
        self.rested += seconds
        self._resting.release()
        self._ends.acquire(timeout=10)

    def wait_for_rest(self) -> None:
        assert self._resting.acquire(timeout=5)

    def end_rest(self) -> None:
        self._ends.release()


@pytest.fixture
def channel() -> Iterator[Any]:
    """What another process hears."""
    client = redis.Redis.from_url(settings.REDIS_URL)
    with client.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(CHANNEL)
        heard.get_message(timeout=5)
        yield heard
    client.close()


def topics(channel: Any, relay: Relay, *, within: float = 5) -> list[str] | None:
    """Return the topics of the next message of a relay, None if there is none in time."""
    end = time.monotonic() + within
    while (left := end - time.monotonic()) > 0:
        message = channel.get_message(timeout=left)
        content = json.loads(message["data"]) if message else {}
        if content.get("from") == relay.sender:
            return list(content["topics"])
    return None


def test_the_first_goes_at_once_and_what_comes_during_the_pause_is_one_message(
    channel: Any,
) -> None:
    clock = Clock()
    relay = Relay(rest=clock.rest)

    relay.send(("events",))
    assert topics(channel, relay) == ["events"]

    clock.wait_for_rest()
    for number in range(1000):
        relay.send(("events", f"tasks:agent_{number % 3}"))
    assert topics(channel, relay, within=0.05) is None

    clock.end_rest()
    gathered = ["events", "tasks:agent_0", "tasks:agent_1", "tasks:agent_2"]
    assert topics(channel, relay) == gathered
    clock.wait_for_rest()
    assert topics(channel, relay, within=0.05) is None
    clock.end_rest()


def test_at_most_two_hundred_messages_are_sent_in_a_second(channel: Any) -> None:
    clock = Clock()
    relay = Relay(rest=clock.rest)

    for number in range(20):
        relay.send((f"tasks:agent_{number}",))
        assert topics(channel, relay) == [f"tasks:agent_{number}"]
        clock.wait_for_rest()
        clock.end_rest()

    assert clock.rested == pytest.approx(20 * PAUSE)
    assert pytest.approx(200) == 1 / PAUSE
