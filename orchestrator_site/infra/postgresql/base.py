"""Django's PostgreSQL backend, which asks nothing of the server to know that a connection lives."""

import select
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from django.db.backends.postgresql import base
from django.db.backends.postgresql.psycopg_any import BaseTzLoader
from psycopg.pq import TransactionStatus


class Times(BaseTzLoader):
    """Reads a time; what Python does not take is left to psycopg, which takes it apart itself."""

    timezone = UTC

    def load(self, data: Any) -> datetime:
        try:
            return datetime.fromisoformat(bytes(data).decode()).astimezone(UTC)
        except ValueError:
            return cast(datetime, super().load(data))


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that is looked at before it is used, without a round trip."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Connect, to read times in one step."""
        connection = super().get_new_connection(conn_params)
        connection.adapters.register_loader("timestamptz", Times)
        return connection

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Carry out a statement of our own text; return its rows.

        Django's cursor describes each column of the answer. It is taken where somebody listens.
        """
        self.close_if_health_check_failed()
        if self.connection is None or self.queries_logged or self.execute_wrappers:
            with self.cursor() as cursor:
                cursor.execute(sql, values)
                return cursor.fetchall() if cursor.description else []
        self.validate_no_broken_transaction()
        with self.wrap_database_errors:
            done = self.connection.execute(sql, values)
            return done.fetchall() if done.pgresult.nfields else []

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
