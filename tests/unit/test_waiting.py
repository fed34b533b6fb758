"""Lines of requests that wait. Time is made short, and nothing but events moves it."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from orchestrator_site.api.long_poll import Attempt, Wait
from orchestrator_site.server import waiters
from orchestrator_site.server.application import until_disconnect
from orchestrator_site.server.waiters import ENDING, STEP, WaiterRegistry, on_loop
from orchestrator_site.server.wsgi_adapter import Answer

FOUND = Answer(200, body=b"found")
LONG = 60.0


class Shelf:
    """What is there to be taken; counts who asked."""

    def __init__(self, things: int = 0) -> None:
        self.things, self.asked = things, 0
        self.opens = asyncio.Event()
        self.opens.set()

    async def look(self) -> Answer | None:
        self.asked += 1
        await self.opens.wait()
        self.things -= 1
        return FOUND if self.things >= 0 else None


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 10))


def hold(key: str = "line", seconds: float = LONG, topic: str = "events") -> Wait:
    return Wait(frozenset([topic]), seconds, key)


async def settle() -> None:
    """Let everything that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_wakeup_brings_the_answer() -> None:
    async def story() -> None:
        room, shelf = WaiterRegistry(), Shelf(1)
        waits = asyncio.create_task(room.wait(hold(), on_loop(shelf.look), since=0))
        await settle()
        assert not waits.done() and shelf.asked == 0

        room.wake({"events"})

        assert await waits is FOUND

    run(story)


def test_another_topic_wakes_nobody() -> None:
    async def story() -> None:
        room, shelf = WaiterRegistry(), Shelf(1)
        waits = asyncio.create_task(room.wait(hold(), on_loop(shelf.look), since=0))
        await settle()
        room.wake({"tasks:dev_agent"})
        await settle()

        assert shelf.asked == 0
        waits.cancel()

    run(story)


def test_what_was_woken_while_it_looked_is_not_missed() -> None:
    async def story() -> None:
        room, shelf = WaiterRegistry(), Shelf(1)
        mark = room.moment
        room.wake({"events"})

        assert await room.wait(hold(), on_loop(shelf.look), since=mark) is FOUND

    run(story)


def test_the_first_in_line_gets_it_and_only_then_the_next_one_asks() -> None:
    async def story() -> None:
        room, shelf = WaiterRegistry(), Shelf()
        waits = [
            asyncio.create_task(room.wait(hold(), on_loop(shelf.look), since=0)) for _ in range(100)
        ]
        await settle()
        shelf.things = 2
        room.wake({"events"})
        await settle()

        assert [each.done() for each in waits[:3]] == [True, True, False] and shelf.asked == 3
        for each in waits:
            each.cancel()

    run(story)


def test_when_the_time_is_over_the_empty_answer_is_sent() -> None:
    async def story() -> None:
        room, shelf = WaiterRegistry(), Shelf()

        assert await room.wait(hold(seconds=0.01), on_loop(shelf.look), since=0) is None

    run(story)


def test_what_is_caught_in_the_last_moment_is_not_lost() -> None:
    async def story() -> None:
        room, shelf = WaiterRegistry(), Shelf(1)
        shelf.opens.clear()
        waits = asyncio.create_task(room.wait(hold(seconds=0.01), on_loop(shelf.look), since=0))
        await settle()
        room.wake({"events"})
        await asyncio.sleep(0.05)  # its time is over, and it is still asking
        assert not waits.done()
        shelf.opens.set()

        assert await waits is FOUND

    run(story)


def test_nobody_asks_for_who_has_left() -> None:
    async def story() -> None:
        room, shelf = WaiterRegistry(), Shelf(1)
        gone, stays = (
            asyncio.create_task(room.wait(hold(), on_loop(shelf.look), since=0)) for _ in range(2)
        )
        await settle()
        gone.cancel()
        await settle()
        room.wake({"events"})

        assert await stays is FOUND and shelf.asked == 1

    run(story)


def test_a_wakeup_while_asking_makes_it_ask_again() -> None:
    async def story() -> None:
        room, shelf = WaiterRegistry(), Shelf()
        waits = asyncio.create_task(room.wait(hold(), on_loop(shelf.look), since=0))
        await settle()
        shelf.opens.clear()
        room.wake({"events"})
        await settle()
        room.wake({"events"})
        shelf.opens.set()
        await settle()

        assert shelf.asked == 2
        waits.cancel()

    run(story)


def test_a_wakeup_begins_the_attempt_in_the_thread_that_wakes() -> None:
    async def story() -> None:
        room, begun = WaiterRegistry(), list[str]()
        found = asyncio.get_running_loop().create_future()

        def ask() -> Attempt:
            return found, lambda: begun.append(threading.current_thread().name)

        waits = asyncio.create_task(room.wait(hold(), ask, since=0))
        await settle()
        waking = threading.Thread(target=room.wake, args=(["events"],), name="waking")
        waking.start()
        waking.join()  # the event loop does nothing meanwhile

        assert begun == ["waking"]
        found.set_result(FOUND)
        assert await waits is FOUND

    run(story)


def test_who_comes_to_a_queue_asks_only_if_it_is_empty() -> None:
    async def story() -> None:
        room, shelf = WaiterRegistry(), Shelf()
        waits = []
        for _ in range(3):
            waits.append(asyncio.create_task(room.wait(hold(), on_loop(shelf.look))))
            await settle()
        assert shelf.asked == 1

        shelf.things = 3
        room.wake({"events"})

        assert await asyncio.gather(*waits) == [FOUND] * 3
        assert shelf.asked == 4

    run(story)


def test_what_is_due_sooner_sets_the_clock_anew() -> None:
    async def story() -> None:
        room, moments = WaiterRegistry(), iter([LONG, 0.01])

        class Nothing(float):
            def __bool__(self) -> bool:
                return False

        async def look() -> Any:
            return Nothing(seconds) if (seconds := next(moments, None)) else FOUND

        due = Wait(frozenset(["events"]), LONG, "line", due=float)
        waits = asyncio.create_task(room.wait(due, on_loop(look)))
        await settle()
        room.wake({"events"})  # what was scheduled meanwhile is due in a moment

        assert await waits is FOUND

    run(story)


def test_those_whose_time_ends_together_go_on_a_few_at_a_time() -> None:
    async def story() -> None:
        room, shelf, ends = WaiterRegistry(), Shelf(), list[float]()

        async def wait() -> None:
            assert await room.wait(hold(seconds=0.02), on_loop(shelf.look), since=0) is None
            ends.append(time.monotonic())

        began = time.monotonic()
        await asyncio.gather(*(wait() for _ in range(3 * ENDING)))

        assert ends[0] >= began + 0.02
        assert ends[ENDING] >= began + 0.02 + STEP and ends[-1] >= began + 0.02 + 2 * STEP

    run(story)


def test_a_lost_wakeup_costs_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiters, "TICK", 0.01)

    async def story() -> None:
        room, shelf = WaiterRegistry(), Shelf()
        ticks = asyncio.create_task(room.run())
        waits = asyncio.create_task(room.wait(hold(), on_loop(shelf.look), since=0))
        await settle()
        shelf.things = 1

        assert await waits is FOUND
        ticks.cancel()

    run(story)


def test_closing_answers_everyone_and_lets_nobody_wait() -> None:
    async def story() -> None:
        room, shelf = WaiterRegistry(), Shelf(1)
        waits = [
            asyncio.create_task(room.wait(hold(str(key)), on_loop(shelf.look), since=0))
            for key in range(3)
        ]
        await settle()

        room.close()

        assert [await each for each in waits] == [None] * 3
        assert await room.wait(hold(), on_loop(shelf.look), since=0) is None and shelf.asked == 0

    run(story)


def test_too_many_are_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiters, "MAX_WAITERS", 1)

    async def story() -> None:
        room, shelf = WaiterRegistry(), Shelf()
        waits = asyncio.create_task(room.wait(hold(), on_loop(shelf.look), since=0))
        await settle()

        assert await room.wait(hold(), on_loop(shelf.look), since=0) is None
        waits.cancel()

    run(story)


def test_one_credential_takes_half_of_the_places_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiters, "MAX_WAITERS", 4)
    monkeypatch.setattr(waiters, "MOST_PER_CREDENTIAL", 2)

    async def story() -> None:
        room, shelf = WaiterRegistry(), Shelf()
        come = ["jwt", "jwt", "jwt", "key:a", "key:b", "key:c"]
        holds = [Wait(frozenset(["events"]), LONG, name, credential=name) for name in come]
        waits = [asyncio.create_task(room.wait(one, on_loop(shelf.look), since=0)) for one in holds]
        await settle()

        assert [wait.done() for wait in waits] == [False, False, True, False, False, True]
        waits[0].cancel()
        await settle()
        more = asyncio.create_task(room.wait(holds[0], on_loop(shelf.look), since=0))
        await settle()
        assert not more.done()
        room.close()

    run(story)


def test_a_refusal_is_gone_with_its_request() -> None:
    class Refusal(Exception):
        pass

    async def story() -> None:
        def refuse() -> Attempt:
            attempt = asyncio.get_running_loop().create_future()
            return attempt, lambda: attempt.set_result(Refusal())

        async def asks() -> "weakref.ref[Refusal]":
            try:
                wait = WaiterRegistry().wait(hold(), refuse)
                await until_disconnect(wait, asyncio.Event().wait)
            except Refusal as refusal:
                return weakref.ref(refusal)
            raise AssertionError("nothing was refused")

        gc.disable()
        try:
            kept = await asks()
            await settle()
            assert kept() is None
        finally:
            gc.enable()

    run(story)
