"""Django's SQLite backend with one writing transaction of this process at a time.

SQLite itself lets writers sleep and try again, longer each time, so that under load some wait for
seconds while others go past them. Other processes are still kept out by SQLite's own lock.
"""

import contextlib
import functools
import os
import threading
from collections.abc import Sequence
from typing import Any

from django.db import OperationalError
from django.db.backends.sqlite3 import base

DOOR = threading.Lock()


@functools.lru_cache(512)
def marked(sql: str) -> str:
    """Return a statement with the marks for values that SQLite reads."""
    return sql.replace("%s", "?")


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that takes its turn before it begins a transaction."""

    _inside = False

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Carry out a statement of our own text, with %s for values only; return its rows.

        Django's cursor reads the text anew each time. It is taken where somebody listens.
        """
        if self.connection is None or self.queries_logged or self.execute_wrappers:
            with self.cursor() as cursor:
                cursor.execute(sql, values)
                return list(cursor)
        self.validate_no_broken_transaction()
        with self.wrap_database_errors:
            return self.connection.execute(marked(sql), values).fetchall()

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Connect. A new file is for its owner only, whatever the umask; SQLite's others follow it.

        One that is there is never opened here: closing it would end the locks SQLite has on it.
        """
        with contextlib.suppress(OSError):  # SQLite says what is wrong
            os.close(os.open(conn_params["database"], os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        return super().get_new_connection(conn_params)

    def _start_transaction_under_autocommit(self) -> None:
        if not DOOR.acquire(timeout=self.settings_dict["OPTIONS"].get("timeout", 5)):
            raise OperationalError("database is locked")
        self._inside = True
        try:
            self.run("BEGIN IMMEDIATE")
        except BaseException:
            self._leave()
            raise

    def _commit(self) -> Any:
        try:
            return super()._commit()
        finally:
            if not self.connection or not self.connection.in_transaction:
                self._leave()

    def _rollback(self) -> Any:
        try:
            return super()._rollback()
        finally:
            self._leave()

    def _close(self) -> None:
        try:
            super()._close()
        finally:
            self._leave()

    def _leave(self) -> None:
        if self._inside:
            self._inside = False
            DOOR.release()
