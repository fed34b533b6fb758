"""Wake-ups: hints that something is there to read. A lost one costs a second, never an event.

Inside a process they are function calls; between processes Redis carries them, sent by one thread
that gathers what piles up, so that no request waits for Redis.
"""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings

EVENTS = "events"
CHANNEL = "orchestrator:wakeups"
PAUSE = 0.005  # seconds after a message to other processes: at most 200 a second
RECONNECT = 1.0  # seconds between two tries to hear of other processes
logger = logging.getLogger(__name__)
_listeners: set[Callable[[set[str]], None]] = set()
_by_topic: dict[str, list[Callable[[], None]]] = defaultdict(list)


def tasks_of(agent: str) -> str:
    """Return the topic that says: there is work for this agent."""
    return f"tasks:{agent}"


def listen(listener: Callable[[set[str]], None]) -> Callable[[], None]:
    """Call `listener(topics)` at every wake-up in this process; return a function that ends it.

    The listener runs in the waking thread and must not block.
    """
    _listeners.add(listener)
    return lambda: _listeners.discard(listener)


def listen_for(topic: str, listener: Callable[[], None]) -> None:
    """Call `listener()` at every wake-up of one topic in this process, as `listen` does."""
    _by_topic[topic].append(listener)


def wake(*topics: str) -> None:
    """Tell whoever waits, here and in the other processes. Call it after the commit."""
    for listener in tuple(_listeners):
        listener(set(topics))
    for topic in set(topics):
        for call in _by_topic.get(topic, ()):
            call()
    if settings.REDIS_URL:
        relay.send(topics)


def heard(message: Mapping[str, Any]) -> set[str]:
    """Return the topics in a message of the channel, none if it is our own or none of ours."""
    if message.get("type") != "message":
        return set()
    with contextlib.suppress(ValueError, TypeError, KeyError):
        content = json.loads(message["data"])
        return set(content["topics"]) if content["from"] != relay.sender else set()
    return set()


class Relay:
    """One thread that sends the topics of this process to Redis.

    The first goes at once; those that gather during its trip and the pause are one message.
    """

    def __init__(self, *, rest: Callable[[float], None] = time.sleep) -> None:
        self._rest = rest
        self._topics: set[str] = set()
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._pid = 0
        self.sender = ""  # process ids are not enough: every container has the same

    def send(self, topics: tuple[str, ...]) -> None:
        """Queue topics; never blocks, never fails."""
        with self._lock:
            self._topics.update(topics)
            if self._pid != os.getpid():  # first use, or first use after a fork
                self._pid, self.sender = os.getpid(), secrets.token_hex(8)
                threading.Thread(target=self._run, name="wakeups", daemon=True).start()
        self._ready.set()

    def _run(self) -> None:
        import redis

        client = redis.Redis.from_url(
            settings.REDIS_URL, socket_connect_timeout=0.5, socket_timeout=0.5
        )
        while True:
            self._ready.wait()
            self._ready.clear()
            with self._lock:
                topics, self._topics = self._topics, set()
            with contextlib.suppress(redis.RedisError):
                client.publish(CHANNEL, json.dumps({"from": self.sender, "topics": sorted(topics)}))
            self._rest(PAUSE)


relay = Relay()


async def receive(woken: Callable[[set[str]], None]) -> None:
    """Pass on the wake-ups of the other processes, as long as Redis is there."""
    import redis.asyncio

    client = redis.asyncio.Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=1, health_check_interval=15
    )
    while True:
        try:
            async with client.pubsub() as channel:
                await channel.subscribe(CHANNEL)
                woken({EVENTS})  # whatever was missed meanwhile
                async for message in channel.listen():
                    if topics := heard(message):
                        woken(topics)
        except (redis.RedisError, OSError) as fault:
            logger.debug("No word from other processes (%s).", type(fault).__name__)
        await asyncio.sleep(RECONNECT)
