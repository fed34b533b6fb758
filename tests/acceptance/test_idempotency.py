"""Idempotency-Key: the first answer again, one deed however many ask."""

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from orchestrator_site import jobs
from orchestrator_site.api import idempotency
from orchestrator_site.models import IdempotencyKey, Principal

pytestmark = [pytest.mark.urls("tests.support.doors"), pytest.mark.django_db]
KEY = "3b2b9a4e"


def create(caller: Any, body: Any = None, key: str = KEY) -> Any:
    return caller.post(
        "/things", {"name": "thing"} if body is None else body, **{"Idempotency-Key": key}
    )


def test_a_repetition_gets_the_first_answer(api: Callable[..., Any]) -> None:
    body = {"name": "thing", "payload": {"z": 1, "a": [1.0, "é", None]}}

    first, second = create(api("agent"), body), create(api("agent"), body)

    assert first.status_code == second.status_code == 200
    assert (
        "Idempotent-Replay" not in first.headers and second.headers["Idempotent-Replay"] == "true"
    )
    assert first.content == second.content
    assert Principal.objects.count() == 1


def test_the_same_json_written_otherwise_is_the_same_body(api: Callable[..., Any]) -> None:
    agent = api("agent")
    headers = {**agent.headers, "Idempotency-Key": KEY}
    texts = [
        '{"name":"thing","payload":{"a":1,"b":2}}',
        '{ "payload": {"b": 2, "a": 1},\n "name": "th\\u0069ng" }',
    ]

    answers = [
        agent.client.generic("POST", "/things", text, "application/json", headers=headers)
        for text in texts
    ]

    assert [answer.status_code for answer in answers] == [200, 200]


@pytest.mark.parametrize("body", [{"name": "other"}, {"name": "thing", "payload": {}}, {}])
def test_another_body_is_refused(api: Callable[..., Any], body: dict[str, Any]) -> None:
    create(api("agent"))

    answer = create(api("agent"), body)

    assert answer.status_code == (422 if body else 400)
    assert next(iter(answer.json())) == "detail"
    assert list(Principal.objects.values_list("name", flat=True)) == ["thing"]


def test_keys_of_two_principals_do_not_meet(api: Callable[..., Any]) -> None:
    create(api("agent"))

    answer = create(api("agent", name="dev-agent-2"), {"name": "theirs"})

    assert answer.status_code == 200 and answer.json()["name"] == "theirs"


@pytest.mark.parametrize("name", ["thing", "half"])
def test_a_failure_is_not_kept(api: Callable[..., Any], name: str) -> None:
    blocking = None if name == "half" else Principal.objects.create(name="thing")

    first = create(api("agent"), {"name": name})

    assert first.status_code == 409
    assert not IdempotencyKey.objects.exists()
    assert not Principal.objects.filter(name="half").exists(), "its half-done work is undone"
    if blocking:
        blocking.delete()
        assert create(api("agent"), {"name": name}).status_code == 200


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "é", "a\x7f", "a,b"])
def test_a_bad_key_is_refused(api: Callable[..., Any], key: str) -> None:
    answer = create(api("agent"), key=key)

    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["detail"]
    assert not Principal.objects.exists()


@pytest.mark.parametrize("key", ["x", "x" * 255, 'a "quoted" key with ~!'])
def test_a_good_key_is_taken(api: Callable[..., Any], key: str) -> None:
    assert create(api("agent"), key=key).status_code == 200


@pytest.mark.parametrize(
    ("age", "again"), [(timedelta(hours=23, minutes=59), True), (timedelta(hours=24), False)]
)
def test_an_answer_is_kept_for_a_day(api: Callable[..., Any], age: timedelta, again: bool) -> None:
    create(api("agent"))
    IdempotencyKey.objects.update(created_at=timezone.now() - age)

    answer = create(api("agent"), {"name": "thing"} if again else {"name": "tomorrow"})

    assert answer.status_code == 200
    assert ("Idempotent-Replay" in answer.headers) is again
    assert IdempotencyKey.objects.count() == 1


def test_old_answers_are_pruned(api: Callable[..., Any]) -> None:
    create(api("agent"))
    now = timezone.now()

    assert idempotency.prune_answers(now=now + timedelta(hours=23)) == 0
    assert idempotency.prune_answers(now=now + timedelta(hours=25)) == 1


def test_a_job_prunes_old_answers_in_steps_and_leaves_the_young(db: None) -> None:
    kept_answers(old=449, young=1)

    jobs.prune_answers()

    assert IdempotencyKey.objects.values_list("key", flat=True).get() == "young 0"


def test_where_more_is_left_the_job_is_sent_for_again(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept_answers(old=250, young=0)
    again: list[str] = []
    monkeypatch.setattr(jobs, "STEPS", 1)
    monkeypatch.setattr(jobs.prune_answers, "delay", lambda: again.append("prune_answers"))

    jobs.prune_answers()

    assert (IdempotencyKey.objects.count(), again) == (50, ["prune_answers"])


def kept_answers(*, old: int, young: int) -> None:
    """Store answers that are kept no longer, and some that are."""
    now = timezone.now()
    IdempotencyKey.objects.bulk_create(
        IdempotencyKey(
            principal="dev-agent-1", key=f"{age} {number}", created_at=now - timedelta(hours=hours)
        )
        for age, hours, how_many in (("old", 25, old), ("young", 23, young))
        for number in range(how_many)
    )


def test_a_key_costs_three_statements(
    api: Callable[..., Any], django_assert_num_queries: Any
) -> None:
    agent = api("agent")
    agent.post("/things", {"name": "first"})
    with django_assert_num_queries(3):
        assert agent.post("/things", {"name": "plain"}).status_code == 200

    with django_assert_num_queries(3 + 3 + 2):  # and the transaction: begun and ended
        assert create(agent).status_code == 200


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
@pytest.mark.parametrize("round_", range(5))
def test_of_many_at_once_one_is_done_and_all_get_its_answer(
    api: Callable[..., Any], round_: int
) -> None:
    answers: list[Any] = []
    start = threading.Barrier(6)

    def ask() -> None:
        caller = api("agent")
        start.wait()
        answers.append(create(caller))
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [answer.status_code for answer in answers] == [200] * 6
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotent-Replay" in answer.headers for answer in answers) == 5
    assert Principal.objects.count() == 1


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_of_many_at_once_with_other_bodies_one_is_done(api: Callable[..., Any]) -> None:
    codes: list[int] = []
    start = threading.Barrier(6)

    def ask(number: int) -> None:
        caller = api("agent")
        start.wait()
        codes.append(create(caller, {"name": f"thing-{number}"}).status_code)
        connection.close()

    threads = [threading.Thread(target=ask, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(codes) == [200] + [422] * 5
    assert Principal.objects.count() == 1


def test_what_is_kept_is_the_answer_as_json(api: Callable[..., Any]) -> None:
    answer = create(api("agent"))

    kept = IdempotencyKey.objects.get()
    assert json.loads(kept.response) == answer.json()
    assert kept.operation == "POST /things" and kept.principal == "dev-agent-1"
