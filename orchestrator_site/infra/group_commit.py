"""Carry out together what arrives together: one call and one commit for many requests.

A work is a function that takes a list of items and returns one outcome for each, in their order: a
value, or the refusal of that item. It opens the transaction that it needs.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, Protocol

from django.db import InterfaceError, OperationalError

from orchestrator_site.infra import cached_rows, wakeups
from orchestrator_site.infra.changes import change, current, here
from orchestrator_site.infra.connection_watchdog import watchdog

MOST = 32  # items in one transaction, and a batch more: with bodies of 1 MiB they take 32 MiB
THREADS = 4  # for what is asked alone
Work = Callable[[list[Any]], Sequence[Any]]
Groups = list[tuple[Work, list[Any]]]
DATABASE_GONE = (OperationalError, InterfaceError)
TRANSACTION_ROLLBACK = "40"  # SQLSTATE class: a deadlock, a transaction that cannot be serialized


class Later(NamedTuple):
    """An item that is made when its turn comes. make: in the worker's thread; may refuse."""

    make: Callable[[], Any]


class Queued(NamedTuple):
    """One item, and the future that gets its outcome."""

    work: Work
    item: Any
    future: "asyncio.Future[Any]"


class Waiters(Protocol):
    """Those who wait for what a writer may bring."""

    def await_writer(self) -> bool:
        """Return whether there are any."""

    def wake(self, topics: Collection[str]) -> None:
        """Have those who wait for these topics hand in their items."""


class Inline:
    """Carries out works at once, in the caller's thread: outside of a server nothing waits."""

    async def write(self, work: Work, item: Any) -> Any:
        return self._outcome(work, item)

    async def read(self, work: Work, item: Any) -> Any:
        return self._outcome(work, item)

    async def call(self, function: Callable[[], Any]) -> Any:
        return function()

    async def call_shared(self, function: Callable[[], Any], *, seconds: float = 0) -> Any:
        return await self.call(function)

    async def prepare(self) -> None:
        """Small tables are loaded where they are asked for."""

    def _outcome(self, work: Work, item: Any) -> Any:
        [outcome] = work([item])
        return outcome


class Grouped:
    """Carries out works on one writing and one reading thread; awaited on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, waiters: Waiters | None = None) -> None:
        self._writer, self._reader = Worker(loop, "writer", waiters), Worker(loop, "reader")
        self._loop, self._threads = loop, ThreadPoolExecutor(THREADS, thread_name_prefix="calls")
        self._shared: dict[Callable[[], Any], asyncio.Future[Any]] = {}

    def write(self, work: Work, item: Any) -> "asyncio.Future[Any]":
        """Return the outcome of an item; it is committed."""
        return self._writer.do(work, item)

    def write_later(
        self, work: Work, make: Callable[[], Any]
    ) -> tuple["asyncio.Future[Any]", Callable[[], None]]:
        """Return the outcome of an item, and what has it made and written, once, by any thread."""
        return self._writer.do_later(work, Later(make))

    def read(self, work: Work, item: Any) -> "asyncio.Future[Any]":
        """Return the outcome of an item of a work that writes nothing."""
        return self._reader.do(work, item)

    def call(self, function: Callable[[], Any]) -> "asyncio.Future[Any]":
        """Return what a function that asks the database alone returns."""
        return self._loop.run_in_executor(self._threads, watched, function)

    async def call_shared(
        self, function: Callable[[], Any], *, seconds: float | None = None
    ) -> Any:
        """Do as `call`; who asks for it meanwhile gets the same answer.

        Raise TimeoutError if it takes longer than so many seconds.
        """
        running = self._shared.get(function)
        if running is None or running.done():
            running = self._shared[function] = self.call(function)
        return await asyncio.wait_for(asyncio.shield(running), seconds)

    async def prepare(self) -> None:
        """Have the small tables in memory, for the event loop loads none."""
        if not cached_rows.all_fresh():
            await self.call_shared(cached_rows.renew_all)

    def close(self) -> None:
        """End the threads once what they have been given is done."""
        self._writer.close()
        self._reader.close()
        self._threads.shutdown(wait=False)


class Worker:
    """A thread with a database connection that takes whatever has arrived, over and over."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, name: str, waiters: Waiters | None = None
    ) -> None:
        self._loop, self._waiters = loop, waiters
        self._inbox: queue.SimpleQueue[Queued | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def do(self, work: Work, item: Any) -> "asyncio.Future[Any]":
        """Return, on the event loop, the outcome of an item."""
        future, begin = self.do_later(work, item)
        begin()
        return future

    def do_later(self, work: Work, item: Any) -> tuple["asyncio.Future[Any]", Callable[[], None]]:
        """Return what `do` does, and what hands in the item, from any thread."""
        future: asyncio.Future[Any] = self._loop.create_future()
        return future, partial(self._inbox.put, Queued(work, item, future))

    def close(self) -> None:
        """Have the thread end after what it has been given."""
        self._inbox.put(None)

    def _run(self) -> None:
        while (first := self._inbox.get()) is not None:
            jobs = [first, *self._arrived(MOST - weight_of(first.item))]
            gone = self._carry_out(jobs)
            if gone is not None:  # whoever waits behind them would wait for the same
                waiting = self._arrived(self._inbox.qsize())
                self._answer([(job, copy_of(gone)) for job in waiting])
        here.database.close()

    def _arrived(self, most: int) -> list[Queued]:
        jobs: list[Queued] = []
        with contextlib.suppress(queue.Empty):
            while most > 0:
                job = self._inbox.get_nowait()
                if job is None:
                    self._inbox.put(None)
                    break
                jobs.append(job)
                most -= weight_of(job.item)
        return jobs

    def _carry_out(self, jobs: list[Queued]) -> Exception | None:
        """Answer jobs; return the fault if the database is gone."""
        here.database.close_if_unusable_or_obsolete()
        with watchdog.watch():
            jobs = list(self._made(jobs))
            if here.database.vendor == "sqlite" and self._waiters and self._waiters.await_writer():
                jobs, outcomes = with_followers(jobs, partial(self._woken, self._waiters))
            else:
                outcomes = carried_out(jobs)
        self._answer(list(zip(jobs, outcomes, strict=True)))
        faults = [fault for fault in outcomes if is_gone(fault)]
        if not faults:
            return None
        here.database.close()
        return faults[0]

    def _woken(self, waiters: Waiters, topics: Collection[str]) -> list[Queued]:
        """Return what has arrived, after those who wait for these topics handed in theirs."""
        waiters.wake(topics)
        return list(self._made(self._arrived(MOST)))

    def _made(self, jobs: Iterable[Queued]) -> Iterator[Queued]:
        """Yield jobs with their items; one whose item is refused is answered instead."""
        for job in jobs:
            try:
                made = isinstance(job.item, Later)
                yield job._replace(item=job.item.make()) if made else job
            except Exception as refusal:
                self._answer([(job, refusal)])

    def _answer(self, answers: list[tuple[Queued, Any]]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(deliver, answers)


def deliver(answers: list[tuple[Queued, Any]]) -> None:
    """Give the futures their outcomes, on the event loop."""
    for job, outcome in answers:
        if not job.future.done():  # its caller may have left
            job.future.set_result(outcome)


def weight_of(item: Any) -> int:
    """Return for how many items one counts: a batch for those in it."""
    return int(getattr(item, "weight", 1))


def carried_out(jobs: Sequence[Queued]) -> list[Any]:
    """Return the outcomes of jobs: one call for each work; on SQLite one commit for all."""

    def carry(groups: Groups) -> list[list[Any]]:
        many = len(groups) > 1 and here.database.vendor == "sqlite"
        results = all_at_once(groups) if many else None
        return results or [together(work, items) for work, items in groups]

    return in_groups(jobs, carry)


def with_followers(
    jobs: list[Queued], woken: Callable[[Collection[str]], list[Queued]]
) -> tuple[list[Queued], list[Any]]:
    """Carry out jobs and, in the same transaction, those that their changes wake.

    woken: returns these, given topics. Return all jobs and their outcomes.
    """
    followers: list[Queued] = []
    try:
        with change():
            outcomes = in_groups(jobs, each)
            followers += woken(set(current().topics) - {wakeups.EVENTS})
            outcomes += in_groups(followers, each)
            ensure_unbroken()
    except Exception:
        outcomes = carried_out(jobs) + carried_out(followers)
    return jobs + followers, outcomes


def in_groups(jobs: Sequence[Queued], carry: Callable[[Groups], list[list[Any]]]) -> list[Any]:
    """Return the outcomes of jobs. carry: returns those of works and all their items."""
    places: dict[Work, list[int]] = {}
    for place, job in enumerate(jobs):
        places.setdefault(job.work, []).append(place)
    results = carry(
        [(work, [jobs[place].item for place in group]) for work, group in places.items()]
    )
    outcomes: list[Any] = [None] * len(jobs)
    for group, result in zip(places.values(), results, strict=True):
        for place, outcome in zip(group, result, strict=True):
            outcomes[place] = outcome
    return outcomes


def each(groups: Groups) -> list[list[Any]]:
    """Return the outcomes of works, one after the other; raise what fails."""
    return [list(work(items)) for work, items in groups]


def all_at_once(groups: Groups) -> list[list[Any]] | None:
    """Return the outcomes of several works in one transaction, None if a fault undid it."""
    try:
        with change():
            results = each(groups)
            ensure_unbroken()
            return results
    except Exception:
        return None


def ensure_unbroken() -> None:
    """Raise a fault if the transaction will be undone, although somebody passed its fault over."""
    if here.database.needs_rollback:
        raise OperationalError("A fault in this transaction undoes all of it.")


def together(work: Work, items: list[Any]) -> list[Any]:
    """Return the outcomes of a work; what fails for all is tried for each item alone."""
    try:
        return list(work(items))
    except Exception as fault:
        if is_gone(fault):
            return [copy_of(fault) for _ in items]
        if len(items) == 1:
            return [fault]
    return [together(work, [item])[0] for item in items]


def is_gone(fault: object) -> bool:
    """Return whether a fault says that the database is away.

    One that undoes a transaction that another was in the way of says that it is there.
    """
    state = getattr(getattr(fault, "__cause__", None), "sqlstate", None) or ""
    return isinstance(fault, DATABASE_GONE) and not state.startswith(TRANSACTION_ROLLBACK)


def copy_of(fault: Exception) -> Exception:
    """Return a fault to be raised once more, by somebody else."""
    return type(fault)(*fault.args)


def watched(function: Callable[[], Any]) -> Any:
    """Return what a function returns; a frozen database does not hold it for ever."""
    here.database.close_if_unusable_or_obsolete()
    with watchdog.watch():
        return function()
