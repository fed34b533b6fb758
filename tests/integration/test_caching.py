"""Rows kept in memory: read once, and never behind a change of this process."""

import asyncio
import threading
from typing import Any

import pytest
from django.db import transaction

from orchestrator_site.infra import cached_rows
from orchestrator_site.infra.cached_rows import CachedLookup, CachedRows
from orchestrator_site.models import Principal


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(cached_rows, "time", found)
    return found


def names() -> CachedRows[list[str]]:
    return CachedRows(
        ["orchestrator_site.Principal"],
        lambda: sorted(Principal.objects.values_list("name", flat=True)),
    )


@pytest.mark.django_db
def test_rows_are_read_once(django_assert_num_queries: Any, clock: Clock) -> None:
    rows = names()
    with django_assert_num_queries(1):
        assert rows() == rows() == []


@pytest.mark.django_db
@pytest.mark.parametrize(("seconds", "seen"), [(0.9, []), (1.0, ["behind"])])
def test_a_change_elsewhere_is_seen_after_a_second(
    clock: Clock, seconds: float, seen: list[str]
) -> None:
    rows = names()
    rows()
    Principal.objects.bulk_create(
        [Principal(name="behind")]
    )  # sends no signal, as another process does not

    clock.now += seconds

    assert rows() == seen


@pytest.mark.django_db
def test_a_change_here_is_seen_at_once(clock: Clock) -> None:
    rows = names()
    assert rows() == []
    one = Principal.objects.create(name="one")
    assert rows() == ["one"]
    one.name = "two"
    one.save()
    assert rows() == ["two"]
    one.delete()
    assert rows() == []


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_what_another_thread_read_before_the_commit_is_forgotten_at_the_commit(
    clock: Clock,
) -> None:
    rows = names()
    with transaction.atomic():
        Principal.objects.create(name="one")
        rows._kept = (
            clock.now + 1,
            [],
        )  # as another thread would keep it, which does not see our row yet

    assert rows() == ["one"]


def test_a_change_while_loading_is_not_overlooked(clock: Clock) -> None:
    loads: list[int] = []

    def load() -> int:
        loads.append(1)
        if len(loads) == 1:
            rows.forget()
        return len(loads)

    rows = CachedRows(["orchestrator_site.Principal"], load)

    assert [rows(), rows(), rows()] == [1, 2, 2]


def test_a_renewal_sees_what_changed_while_it_loaded(clock: Clock) -> None:
    loads: list[int] = []

    def load() -> int:
        loads.append(1)
        if len(loads) == 2:
            rows.forget()
        return len(loads)

    rows = CachedRows(["orchestrator_site.Principal"], load)
    rows.renew()
    clock.now += 1
    rows.renew()

    async def on_loop() -> int:
        return rows()

    assert asyncio.run(on_loop()) == 3


def test_many_threads_may_ask(clock: Clock) -> None:
    rows = CachedRows(["orchestrator_site.Principal"], lambda: 7)
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.extend(rows() for _ in range(200))) for _ in range(8)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        rows.forget()
        thread.join()

    assert found == [7] * 1600


def test_everything_can_be_forgotten(clock: Clock) -> None:
    values = iter([1, 2])
    rows = CachedRows(["orchestrator_site.Principal"], lambda: next(values))
    rows()

    cached_rows.forget_all()

    assert rows() == 2


def test_a_lookup_keeps_so_many_and_no_more() -> None:
    def load(key: int) -> int:
        loaded.append(key)
        return key * 2

    loaded: list[int] = []
    double = CachedLookup([], load, most=3)

    assert [double(key) for key in (1, 2, 3, 1)] == [2, 4, 6, 2]
    assert loaded == [1, 2, 3]
    assert [double(key) for key in (4, 1)] == [8, 2]
    assert loaded == [1, 2, 3, 4, 1]


def test_what_changes_while_it_is_looked_up_is_not_kept() -> None:
    def load(key: str) -> list[str]:
        loaded.append(key)
        if len(loaded) == 1:
            lookup.forget()  # somebody commits a change meanwhile
        return list(loaded)

    loaded: list[str] = []
    lookup = CachedLookup([], load)

    assert [len(lookup("a")) for _ in range(3)] == [1, 2, 2]
