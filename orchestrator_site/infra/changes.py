"""The transaction of a change: what it gathers is written last, just before the commit.

Who has rows that every writer must queue for (the log's head) registers a function with
`written_last`. So their lock is held from the last statement to the commit, and everybody takes it
after all other locks.
"""

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar, overload

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from orchestrator_site.infra import wakeups

Work = TypeVar("Work", bound=Callable[..., Any])
Writer = Callable[[list[Any]], None]
_open: "weakref.WeakKeyDictionary[BaseDatabaseWrapper, Change]" = weakref.WeakKeyDictionary()
_writers: list[Writer] = []


class Change:
    """What one transaction has gathered so far.

    rows: to be written at its end. topics: to be woken after its commit. undoings: to be called if
    it is rolled back.
    """

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.topics: list[str] = []
        self.undoings: list[Callable[[], object]] = []
        self._blocks: list[transaction.Atomic] = []

    @contextlib.contextmanager
    def block(self) -> Iterator[None]:
        """Run a transaction or a savepoint; what was gathered in it goes with it when undone."""
        rows, topics, undoings = len(self.rows), len(self.topics), len(self.undoings)
        atomic, undone = transaction.atomic(), True
        self._blocks.append(atomic)
        try:
            with atomic:
                yield
                rolled_back = transaction.get_rollback()
                if len(self._blocks) == 1 and not rolled_back:
                    self.finish()
            undone = rolled_back
        finally:
            self._blocks.pop()
            if undone:
                for undo in self.undoings[undoings:]:
                    undo()
                del self.rows[rows:], self.topics[topics:], self.undoings[undoings:]

    def finish(self) -> None:
        """Write what was gathered, and have its topics woken after the commit."""
        if self.rows:
            for write in _writers:
                write(self.rows)
        if self.topics:
            wake = functools.partial(wakeups.wake, *dict.fromkeys(self.topics))
            transaction.on_commit(wake, robust=True)

    def is_innermost(self, database: BaseDatabaseWrapper) -> bool:
        """Return whether the innermost transaction or savepoint is one of this change."""
        return database.atomic_blocks[-1] is self._blocks[-1]


def current() -> Change:
    """Return the change under way on this thread's connection.

    Raise RuntimeError without one, and in a savepoint that is not a change: what is gathered there
    would outlive its rollback.
    """
    database = connections[DEFAULT_DB_ALIAS]
    change = _open.get(database)
    if change is None or not change.is_innermost(database):
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
    database = connections[DEFAULT_DB_ALIAS]
    outer = _open.get(database)
    if outer is not None:
        with outer.block():
            yield
        return
    outermost = _open[database] = Change()
    try:
        with outermost.block():
            yield
    finally:
        del _open[database]


def gather(rows: list[Any], topics: list[str]) -> None:
    """Gather rows in the change under way; without one they are a change of their own.

    The one statement that writes them is its own transaction on PostgreSQL: one trip, not three.
    """
    database = connections[DEFAULT_DB_ALIAS]
    alone = database.vendor == "postgresql" and not database.in_atomic_block
    if database in _open:
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
    """Call `write(rows)` with what a change has gathered, as its last statements."""
    _writers.append(write)
