"""Django's PostgreSQL backend, which asks nothing of the server to know that a connection lives."""

import select
from collections.abc import Sequence
from typing import Any

from django.db.backends.postgresql import base
from psycopg.pq import TransactionStatus


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that is looked at before it is used, without a round trip."""

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Carry out a statement of our own text; return its rows."""
        with self.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else []

    def run_last(self, sql: str, values: Sequence[Any]) -> list[Any]:
        """Carry out the last statement of a transaction; return its rows.

        Where it is the only one it is the transaction: one trip, not three.
        """
        opened: Any = self.connection
        if opened is not None and opened.pgconn.transaction_status == TransactionStatus.IDLE:
            opened.autocommit = True
        return self.run(sql, values)

    def is_usable(self) -> bool:
        """Return whether the server has not ended the connection.

        Only after a fault, or if it said something unasked, is it asked: a server that goes says
        so, or closes.
        """
        if self.errors_occurred or self.connection is None or self.connection.closed:
            return super().is_usable()
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return not poll.poll(0) or super().is_usable()
