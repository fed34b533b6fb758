"""Lists read 4 MiB at most of what callers can grow: large values stay in the database."""

from typing import Any

from django.db.models import F
from django.db.models.functions import Coalesce

from orchestrator_site.infra.pagination import MOST_BYTES, StoredBytes

ROWS = 50  # of a list; a longer one reads only smaller values


def read_small(rows: list[Any], *names: str) -> None:
    """Read the deferred fields `names` of these rows where they are small; large ones are None.

    Sets `unread` on each row: how many bytes were left in the database. Takes two statements.
    """
    if not rows or not names:
        return
    every = type(rows[0])._default_manager.order_by()
    stored = every.filter(pk__in=[row.pk for row in rows])
    bytes_of = sum(Coalesce(StoredBytes(F(name)), 0) for name in names)
    sizes: dict[Any, int] = dict(stored.values_list("pk", bytes_of))
    share = MOST_BYTES // max(len(rows), ROWS)
    small = every.filter(pk__in=[key for key, size in sizes.items() if size <= share])
    values = {key: found for key, *found in small.values_list("pk", *names)}
    for row in rows:
        row.unread = 0 if row.pk in values else sizes.get(row.pk, share + 1)
        row.__dict__.update(zip(names, values.get(row.pk, [None] * len(names)), strict=True))
