"""The transaction of a change: what it gathers is written last, just before the commit.

Who has rows that every writer must queue for (the log's head) registers a function with
`written_last`. So their lock is held from the last statement to the commit, and everybody takes it
after all other locks.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar, overload

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from orchestrator_site.infra import wakeups

Work = TypeVar("Work", bound=Callable[..., Any])
Writer = Callable[[list[Any], list[Any]], None]
_writers: list[Writer] = []


class Change:
    """What one transaction has gathered so far.

    rows: to be written at its end, after new ones of another model. topics: to be woken after its
    commit. undoings: to be called if it is rolled back. blocks: its transaction, and the savepoints
    in it.
    """

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.new: list[Any] = []
        self.topics: list[str] = []
        self.undoings: list[Callable[[], object]] = []
        self.blocks: list[transaction.Atomic] = []

    def finish(self) -> None:
        """Write what was gathered, and have its topics woken after the commit."""
        if self.rows:
            for write in _writers:
                write(self.rows, self.new)
        if self.topics:
            wake = functools.partial(wakeups.wake, *dict.fromkeys(self.topics))
            here.database.on_commit(wake, robust=True)

    def forget(self, rows: int, new: int, topics: int, undoings: int) -> None:
        """Undo what was gathered after so many."""
        for undo in self.undoings[undoings:]:
            undo()
        del self.rows[rows:], self.new[new:], self.topics[topics:], self.undoings[undoings:]


class Here(threading.local):
    """This thread's connection, found once, for Django takes as long as a statement to find it.

    change: the one under way on it.
    """

    change: Change | None = None

    def __init__(self) -> None:
        self.database: Any = connections[DEFAULT_DB_ALIAS]


here = Here()


def current() -> Change:
    """Return the change under way on this thread's connection.

    Raise RuntimeError without one, and in a savepoint that is not a change: what is gathered there
    would outlive its rollback.
    """
    change = here.change
    if change is None or here.database.atomic_blocks[-1] is not change.blocks[-1]:
        raise RuntimeError("An event belongs in the transaction of the change it tells of.")
    return change


@overload
def change(work: Work) -> Work: ...
@overload
def change() -> AbstractContextManager[None]: ...


def change(work: Work | None = None) -> Work | AbstractContextManager[None]:
    """Run a transaction that gathers; inside another one it is a savepoint of that.

    As `transaction.atomic`, a context manager or a decorator.
    """
    return _transaction() if work is None else _transaction()(work)


@contextlib.contextmanager
def _transaction() -> Iterator[None]:
    """Run a transaction or a savepoint; what was gathered in it goes with it when undone."""
    outer, database = here.change, here.database
    change = here.change = outer or Change()
    gathered = change.rows, change.new, change.topics, change.undoings
    before = [len(one) for one in gathered]
    atomic, undone = transaction.Atomic(DEFAULT_DB_ALIAS, savepoint=True, durable=False), True
    change.blocks.append(atomic)
    try:
        with atomic:
            yield
            rolled_back = database.needs_rollback
            if outer is None and not rolled_back:
                change.finish()
        undone = rolled_back
    finally:
        here.change = outer
        change.blocks.pop()
        if undone:
            change.forget(*before)


def gather(rows: list[Any], topics: list[str]) -> None:
    """Gather rows in the change under way; without one they are a change of their own.

    The one statement that writes them is its own transaction on PostgreSQL: one trip, not three.
    """
    database = here.database
    alone = database.vendor == "postgresql" and not database.in_atomic_block
    if here.change is not None:
        present = current()
    elif alone:
        present = Change()
    else:
        with change():
            return gather(rows, topics)
    present.rows += rows
    present.topics += topics
    if alone:
        present.finish()


def on_rollback(undo: Callable[[], object]) -> None:
    """Call `undo()` if the change under way is rolled back, or fails to commit."""
    current().undoings.append(undo)


def written_last(write: Writer) -> None:
    """Call `write(rows, new)` with what a change has gathered, as its last statements."""
    _writers.append(write)
