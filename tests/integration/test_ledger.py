"""The order of the log."""

import contextlib
from datetime import datetime
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from events_app import services
from events_app.log import reading, sequencing
from events_app.models import Event, Ledger
from orchestrator_site.core.actors import Actor
from orchestrator_site.infra import wakeups
from orchestrator_site.infra.changes import change, on_rollback

pytestmark = pytest.mark.django_db


def say(event_type: str, by: Actor, now: datetime, **said: Any) -> Event:
    return services.publish(event_type=event_type, source_agent="dev_agent", by=by, now=now, **said)


def read(after: int | None = None, limit: int = 100, **asked: Any) -> tuple[list[str], int]:
    events, position = reading.read(after=after, limit=limit, **asked)
    return [event.event_type for event in events], position


def test_events_get_dense_positions_in_their_order(dev: Actor, now: datetime) -> None:
    for number in range(5):
        say(f"n{number}", dev, now)

    assert list(Event.objects.order_by("pk").values_list("position", flat=True)) == [1, 2, 3, 4, 5]
    assert Ledger.objects.get().head == sequencing.head() == 5


def test_what_is_rolled_back_leaves_no_hole(dev: Actor, now: datetime) -> None:
    say("first", dev, now)
    with pytest.raises(RuntimeError), transaction.atomic():
        say("never", dev, now)
        raise RuntimeError
    say("second", dev, now)

    assert read() == (["first", "second"], 2)


def test_an_empty_log_is_read(dev: Actor) -> None:
    assert read() == ([], 0) and sequencing.head() == 0


def test_the_place_to_go_on_from_is_behind_what_was_looked_at(dev: Actor, now: datetime) -> None:
    for event_type in ("a", "b", "a", "b"):
        say(event_type, dev, now)

    assert read(limit=2) == (["a", "b"], 2)
    assert read(types=["a"], limit=1) == (["a"], 1)
    assert read(types=["a"], limit=2) == (["a", "a"], 3)
    assert read(types=["a"], limit=3) == (["a", "a"], 4)
    assert read(after=4) == ([], 4)


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True, serialized_rollback=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer")
def test_what_commits_late_is_read_later_and_not_passed_over(dev: Actor, now: datetime) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def in_other_connection() -> None:
        say("late, early commit", dev, now)
        connections.close_all()

    with services.change():
        say("early, late commit", dev, now)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(in_other_connection).result()
            before = pool.submit(lambda: (read(), connections.close_all())).result()[0]

    assert before == (["late, early commit"], 1)
    assert read(after=1) == (["early, late commit"], 2)


def test_events_belong_in_a_change(dev: Actor, now: datetime) -> None:
    with pytest.raises(RuntimeError, match="belongs in the transaction"), transaction.atomic():
        services.record(event_type="a.b", by=dev, now=now)
    with pytest.raises(RuntimeError), services.change(), transaction.atomic():
        services.record(event_type="a.b", by=dev, now=now)

    assert read() == ([], 0)


def test_what_is_undone_within_a_change_leaves_no_event(dev: Actor, now: datetime) -> None:
    with services.change():
        say("first", dev, now)
        with pytest.raises(ZeroDivisionError), services.change():
            say("never", dev, now)
            raise ZeroDivisionError
        with services.change():
            say("nor this", dev, now)
            transaction.set_rollback(True)
        say("second", dev, now)
        assert not Event.objects.exists()

    assert read() == (["first", "second"], 2)


def test_a_change_that_is_rolled_back_calls_what_no_database_undoes(db: None) -> None:
    undone: list[str] = []

    with pytest.raises(ZeroDivisionError), change():
        on_rollback(lambda: undone.append("the whole"))
        with contextlib.suppress(ZeroDivisionError), change():
            on_rollback(lambda: undone.append("a part"))
            raise ZeroDivisionError
        assert undone == ["a part"]
        raise ZeroDivisionError
    assert undone == ["a part", "the whole"]

    with change():
        on_rollback(lambda: undone.append("what was kept"))
    assert undone == ["a part", "the whole"]


def test_a_change_that_is_rolled_back_writes_nothing(dev: Actor, now: datetime) -> None:
    with services.change():
        say("never", dev, now)
        transaction.set_rollback(True)

    assert (read(), Ledger.objects.get().head) == (([], 0), 0)


def test_many_events_of_a_change_stand_in_their_order(dev: Actor, now: datetime) -> None:
    with services.change():
        events = [say(f"n{number}", dev, now, payload={"n": number}) for number in range(200)]

    assert [event.position for event in events] == list(range(1, 201))
    stored = Event.objects.order_by("pk").values_list("position", "payload__n")
    assert list(stored) == [(number + 1, number) for number in range(200)]


def test_a_stored_event_is_what_was_recorded(dev: Actor, now: datetime) -> None:
    payload = {"text": "ä \u2028 'quoted' %s", "n": [1, 2.5, None, True], "deep": {"é": {}}}
    said = say("a.b", dev, now, payload=payload, task_id="task_1", trace_id="t", priority="P1")

    [stored] = reading.read(after=None, limit=1)[0]
    names = [field.name for field in Event._meta.concrete_fields if field.name != "id"]
    assert [getattr(stored, name) for name in names] == [getattr(said, name) for name in names]


@pytest.mark.usefixtures("db")
def test_a_change_wakes_once(
    dev: Actor,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    woken: list[tuple[str, ...]] = []
    monkeypatch.setattr(wakeups, "wake", lambda *topics: woken.append(topics))
    with django_capture_on_commit_callbacks(execute=True), services.change():
        for number in range(3):
            say(f"n{number}", dev, now)
        services.record(event_type="a.b", by=dev, now=now, wakes=["tasks:dev_agent"])

    assert woken == [("events", "tasks:dev_agent")]


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_what_an_agent_says_is_one_statement_where_one_is_enough(dev: Actor, now: datetime) -> None:
    say("first", dev, now)
    with CaptureQueriesContext(connection) as sent:
        said = say("second", dev, now)

    words = [query["sql"].split()[0] for query in sent]
    one = ["WITH"] if connection.vendor == "postgresql" else ["BEGIN", "UPDATE", "INSERT", "COMMIT"]
    assert (words, said.position, read()[1]) == (one, 2, 2)


def test_who_reacts_to_events_hears_at_once_of_those_recorded_together(
    dev: Actor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[list[str]] = []
    listener = lambda news: heard.append([one.task_id for one in news])  # noqa: E731
    listening = {"a": [listener], "b": [listener]}
    monkeypatch.setattr(services, "handlers", listening)
    news = [
        services.new_event(event_type=kind, by=dev, now=now, task_id=f"task_{place}")
        for place, kind in enumerate("acba")
    ]

    with services.change():
        services.record_all(news)

    assert heard == [["task_0", "task_2", "task_3"]]
