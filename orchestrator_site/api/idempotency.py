"""One answer per Idempotency-Key: the first is kept and given again.

The key's row is inserted first, in the transaction that does the work. Of several at once the
database lets one insert; the others wait for its end (PostgreSQL at the unique index, SQLite at the
write lock) and then read its answer. If the work fails, the row is rolled back with it.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

from rest_framework.exceptions import APIException

from orchestrator_site.api.negotiation import JSONRenderer
from orchestrator_site.core.errors import Invalid
from orchestrator_site.infra.changes import change
from orchestrator_site.infra.group_commit import Work, weight_of
from orchestrator_site.models import ANSWERS_KEPT, IdempotencyKey

MAX_KEY = 255
SHOWN_ONCE = "The secret was shown once, in the first answer."


class KeyReused(APIException):
    """The key was used for another request."""

    status_code = 422
    default_detail = (
        "This Idempotency-Key was used for another request. Use a new key for a new request."
    )


def checked_key(key: str) -> str:
    """Return the key; raise Invalid unless it is 1 to 255 printable ASCII characters and no comma.

    A header sent twice arrives as one value with a comma, and nobody knows which key is meant.
    """
    if not 0 < len(key) <= MAX_KEY or not key.isascii() or not key.isprintable() or "," in key:
        raise Invalid(
            "Idempotency-Key must be 1 to 255 printable ASCII characters without a comma, "
            "sent once.",
            field="Idempotency-Key",
        )
    return key


class Keyed(NamedTuple):
    """One item of a work that is done once for its key.

    write: what the answer says of the outcome. operation: method and path. body: what counts as the
    request's content. shown_once: the field of the answer that is a secret and never kept.
    """

    work: Work
    item: Any
    write: Callable[[Any], Mapping[str, Any]]
    principal: str
    key: str
    operation: str
    body: Mapping[str, Any]
    now: datetime
    shown_once: str = ""

    @property
    def weight(self) -> int:
        """Return for how many items it counts among those that arrive with it."""
        return weight_of(self.item)

    def row(self) -> IdempotencyKey:
        """Return the row that keeps the answer."""
        return IdempotencyKey(
            principal=self.principal,
            key=self.key,
            operation=self.operation[:300],
            body_hash=digest(self.operation, self.body),
            created_at=self.now,
        )


@change
def answer_all(requests: Sequence[Keyed]) -> list[tuple[bytes, bool] | Exception]:
    """Return for each request the answer as JSON and whether it is a repetition, or its refusal.

    A refusal leaves nothing kept; KeyReused is one for another operation or body. Keys are taken in
    one order by everybody, and one that comes twice among them in as many rounds.
    """
    outcomes: dict[int, tuple[bytes, bool] | Exception] = {}
    waiting = list(range(len(requests)))
    while waiting:
        first: dict[tuple[str, str], int] = {}
        for place in waiting:
            first.setdefault((requests[place].principal, requests[place].key), place)
        places = [first[name] for name in sorted(first)]
        answers = answer_distinct([requests[place] for place in places])
        outcomes |= zip(places, answers, strict=True)
        waiting = [place for place in waiting if place not in outcomes]
    return [outcomes[place] for place in range(len(requests))]


def answer_distinct(requests: Sequence[Keyed]) -> list[tuple[bytes, bool] | Exception]:
    """Do what `answer_all` does where every key is used once. Runs in the caller's transaction."""
    rows = [request.row() for request in requests]
    kept = [claim(row, now=row.created_at) for row in rows]
    outcomes = [
        None if mine.pk == row.pk else repeated(mine, row)
        for mine, row in zip(kept, rows, strict=True)
    ]
    new = [place for place, outcome in enumerate(outcomes) if outcome is None]
    done = carried_out([requests[place] for place in new])
    for place, outcome in zip(new, done, strict=True):
        outcomes[place] = kept_answer(rows[place], requests[place], outcome)
    return cast(list[tuple[bytes, bool] | Exception], outcomes)


def repeated(kept: IdempotencyKey, mine: IdempotencyKey) -> tuple[bytes, bool] | KeyReused:
    """Return the answer that is kept, or the refusal if it belongs to another request."""
    return KeyReused() if kept.body_hash != mine.body_hash else (kept.response.encode(), True)


def carried_out(requests: Sequence[Keyed]) -> list[Any]:
    """Return the outcomes of the items, each work called once."""
    outcomes: dict[int, Any] = {}
    for work in dict.fromkeys(request.work for request in requests):
        places = [place for place, request in enumerate(requests) if request.work == work]
        done = work([requests[place].item for place in places])
        outcomes |= zip(places, done, strict=True)
    return [outcomes[place] for place in range(len(requests))]


def kept_answer(row: IdempotencyKey, request: Keyed, outcome: Any) -> Any:
    """Keep the answer for its key, or give the key back if it was refused; return either."""
    mine = IdempotencyKey.objects.filter(pk=row.pk)
    if isinstance(outcome, Exception):
        mine.delete()
        return outcome
    answer = request.write(outcome)
    text = to_keep = JSONRenderer().render(answer)
    if request.shown_once:
        to_keep = JSONRenderer().render({**answer, request.shown_once: SHOWN_ONCE})
    mine.update(response=to_keep.decode())
    return text, False


def claim(mine: IdempotencyKey, *, now: datetime) -> IdempotencyKey:
    """Return the row that holds the key: mine, or that of whoever came first."""
    while True:
        IdempotencyKey.objects.bulk_create([mine], ignore_conflicts=True)
        kept = IdempotencyKey.objects.filter(principal=mine.principal, key=mine.key).first()
        if kept is not None and (kept.pk == mine.pk or kept.created_at > now - ANSWERS_KEPT):
            return kept
        if kept is not None:  # too old to count
            IdempotencyKey.objects.filter(pk=kept.pk).delete()


def digest(operation: str, body: Mapping[str, Any]) -> str:
    """Return the hash of a request, the same for every way to write the same JSON."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{operation}\n{canonical}".encode()).hexdigest()


def prune_answers(*, now: datetime, limit: int = 200) -> int:
    """Forget the oldest answers that are kept no longer; return how many.

    One short transaction: whoever wants all of them gone calls again until nothing is left.
    """
    old = IdempotencyKey.objects.filter(created_at__lt=now - ANSWERS_KEPT).order_by("created_at")
    rows = IdempotencyKey.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:limit]))
    # Nothing refers to them, and their answers need not be read.
    return rows._raw_delete(rows.db) or 0
