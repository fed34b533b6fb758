"""After a restore from an older copy, nobody who was ahead of it skips anything."""

import io
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from events_app import services
from events_app.consumers import positions
from events_app.log import reading, sequencing
from events_app.models import Consumer, ConsumerDelivery, Delivery, Event, Ledger, Subscription
from events_app.rules import cursor
from events_app.webhooks import fan_out
from events_app.webhooks import services as webhooks
from orchestrator_site.core.actors import Actor

AHEAD = cursor(1000)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("path", [f"/events?after={AHEAD}", f"/events/stream?after={AHEAD}"])
def test_a_cursor_ahead_of_the_log_is_refused(
    api: Callable[..., Any], make_task: Any, path: str
) -> None:
    make_task()

    answer = api("user").get(path)

    assert (answer.status_code, answer.json()["head"]) == (410, cursor(sequencing.head()))


def test_a_consumer_cannot_start_or_go_on_ahead_of_the_log(
    api: Callable[..., Any], dev: Actor, now: datetime
) -> None:
    agent = api("agent", name=dev.name)

    assert agent.post("/events/consumers", {"name": "c", "start": AHEAD}).status_code == 410
    Consumer.objects.create(name="old", owner=dev.name, position=1000, created_at=now)
    assert agent.post("/events/consumers/old/fetch", {}).status_code == 410


@pytest.fixture
def readers(make_task: Any, dev: Actor, now: datetime) -> Subscription:
    """A consumer and a webhook that had read 1000, of a log that ends earlier, and two that had
    not.
    """
    make_task()
    for name, position in (("old", 1000), ("fine", 0)):
        Consumer.objects.create(name=name, owner=dev.name, position=position, created_at=now)
    hook: Subscription
    for position in (0, 1000):
        hook = Subscription.objects.create(
            url="https://hooks.example.com/x",
            types=["*"],
            secret="whsec_x",
            position=position,
            created_by="root-1",
            created_at=now,
        )
    return hook


def test_those_ahead_are_listed_and_the_exit_status_says_so(readers: Subscription) -> None:
    out = io.StringIO()

    with pytest.raises(SystemExit) as ended:
        call_command("check_consumers", "--json", stdout=out)

    answer = json.loads(out.getvalue())
    assert ended.value.code == 1
    assert answer["head"] == sequencing.head()
    assert [(row["kind"], row["name"], row["position"]) for row in answer["ahead"]] == [
        ("consumer", "old", 1000),
        ("subscription", readers.subscription_id, 1000),
    ]


def test_nobody_ahead_is_no_failure(make_task: Any) -> None:
    out = io.StringIO()

    call_command("check_consumers", stdout=out)

    assert out.getvalue().startswith("0 reader(s) ahead")


@pytest.mark.parametrize("kind", ["consumer", "subscription"])
@pytest.mark.parametrize("to", ["head", "oldest", "1"])
def test_a_reader_is_reset_by_name_and_an_event_says_so(
    readers: Subscription, now: datetime, kind: str, to: str
) -> None:
    name = "old" if kind == "consumer" else readers.subscription_id
    head = sequencing.head()
    gone = {"event_id": "evt_gone", "position": 999}
    ConsumerDelivery.objects.create(
        consumer=Consumer.objects.get(name="old"), due_at=now, parked_at=now, **gone
    )
    Delivery.objects.create(
        subscription=readers, event_type="x", next_attempt_at=now, created_at=now, **gone
    )

    call_command("check_consumers", "--reset", name, "--to", to, stdout=io.StringIO())

    position = {"head": head, "oldest": 0, "1": 1}[to]
    reader: Any = Consumer.objects.get(name="old") if kind == "consumer" else readers
    reader.refresh_from_db()
    assert (reader.position, reader.deliveries.count()) == (position, 0)
    said = Event.objects.get(event_type=f"{kind}.reset").payload
    assert (said["before"], said["position"], said["dropped"]) == (1000, position, 1)
    assert name in said.values()


def test_a_consumer_that_was_only_handed_what_is_gone_is_listed_too(
    readers: Subscription, now: datetime
) -> None:
    ConsumerDelivery.objects.create(
        consumer=Consumer.objects.get(name="fine"), event_id="evt_gone", position=999, due_at=now
    )

    assert [reader.name for reader in positions.ahead()[1]][:2] == ["fine", "old"]


@pytest.mark.parametrize(
    "words",
    [
        ("--reset", "nobody", "--to", "head"),
        ("--reset", "sub_nobody", "--to", "head"),
        ("--reset", "old", "--to", "1001"),
        ("--reset", "old", "--to", "-1"),
        ("--reset", "old"),
        ("--to", "head"),
    ],
)
def test_what_cannot_be_reset_is_refused(readers: Subscription, words: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        call_command("check_consumers", *words)

    assert Consumer.objects.get(name="old").position == 1000


@pytest.fixture
def replace_log(publish: Callable[..., Event]) -> Callable[[], None]:
    """Put the log back to its first event, and let it grow past where it had been."""

    def replace() -> None:
        Event.objects.filter(position__gt=1).delete()
        Ledger.objects.update(head=1)
        for _ in range(9):
            publish("new.fact")
        assert sequencing.head() == 10

    return replace


@pytest.fixture
def publish(db: None, dev: Actor, now: datetime) -> Callable[..., Event]:
    def make(event_type: str = "old.fact") -> Event:
        return services.publish(event_type=event_type, source_agent="dev_agent", by=dev, now=now)

    return make


@pytest.fixture
def three_events(publish: Callable[..., Event]) -> None:
    for _ in range(3):
        publish()


@pytest.mark.parametrize("query", ["limit=2", "limit=500", "types=no.such"])
@pytest.mark.parametrize("window", [2, 50_000])
def test_a_cursor_of_a_replaced_log_is_refused_though_the_new_one_has_grown_past_it(
    api: Callable[..., Any],
    three_events: None,
    replace_log: Callable[[], None],
    monkeypatch: Any,
    query: str,
    window: int,
) -> None:
    monkeypatch.setattr(reading, "WINDOW", window)
    after = api("user").get(f"/events?{query}").json()["next"]
    assert api("user").get(f"/events?after={after}").status_code == 200

    replace_log()

    for path in ("/events", "/events/stream"):
        answer = api("user").get(f"{path}?after={after}")
        assert (answer.status_code, answer.json()["head"]) == (410, cursor(sequencing.head()))
    assert api("user").get(f"/events?after={answer.json()['head']}").status_code == 200


def test_a_cursor_of_what_both_logs_hold_stays_good(
    api: Callable[..., Any], three_events: None, replace_log: Callable[[], None]
) -> None:
    after = api("user").get("/events?limit=1").json()["events"][0]["cursor"]

    replace_log()

    assert len(api("user").get(f"/events?after={after}").json()["events"]) == 9


def test_a_cursor_from_before_they_named_the_event_stays_good(
    api: Callable[..., Any], three_events: None
) -> None:
    assert len(api("user").get("/events?after=MToy").json()["events"]) == 1


@pytest.mark.parametrize("start", ["now", "cursor", "time", "fetched", "replayed"])
def test_a_consumer_of_a_replaced_log_is_refused_and_listed_until_it_is_reset(
    api: Callable[..., Any],
    dev: Actor,
    now: datetime,
    three_events: None,
    replace_log: Callable[[], None],
    start: str,
) -> None:
    agent = api("agent", name=dev.name)
    Event.objects.filter(pk=Event.objects.latest("pk").pk).update(created_at=now + HOUR)
    after = agent.get("/events?limit=2").json()["next"]
    places = {"cursor": after, "time": (now + HOUR).isoformat(), "now": "now"}
    made = agent.post("/events/consumers", {"name": "c", "start": places.get(start, "beginning")})
    assert made.status_code == 200
    if start == "fetched":
        agent.post("/events/consumers/c/fetch", {"limit": 2})
    if start == "replayed":
        agent.post("/events/consumers/c/replay", {"after": after})
    assert Consumer.objects.get().position == (3 if start == "now" else 2)

    replace_log()

    assert agent.post("/events/consumers/c/fetch", {}).status_code == 410
    assert [reader.name for reader in positions.ahead()[1]] == ["c"]
    call_command("check_consumers", "--reset", "c", "--to", "1", stdout=io.StringIO())
    events = agent.post("/events/consumers/c/fetch", {}).json()["events"]
    assert events[0]["event_type"] == "new.fact" and positions.ahead()[1] == []


def test_who_was_moved_by_a_process_of_the_version_before_goes_on(
    api: Callable[..., Any], dev: Actor, three_events: None, admin: Actor, now: datetime
) -> None:
    agent = api("agent", name=dev.name)
    start = agent.get("/events?limit=1").json()["next"]
    agent.post("/events/consumers", {"name": "c", "start": start})
    hook = webhooks.subscribe(url="https://93.184.216.34/x", types=["*"], by=admin, now=now)

    Consumer.objects.update(position=2)  # it writes no mark
    Subscription.objects.update(position=2)

    assert positions.ahead()[1] == []
    assert agent.post("/events/consumers/c/fetch", {}).status_code == 200
    assert fan_out.fan_out(now=now) > 0
    hook.refresh_from_db()
    assert hook.active and positions.ahead()[1] == []


@pytest.mark.parametrize("grown", [True, False])
def test_a_webhook_of_a_replaced_log_is_switched_off_with_the_reason_and_listed(
    three_events: None, replace_log: Callable[[], None], admin: Actor, now: datetime, grown: bool
) -> None:
    hook = webhooks.subscribe(url="https://93.184.216.34/x", types=["*"], by=admin, now=now)
    fan_out.fan_out(now=now)

    if grown:
        replace_log()
    else:
        Event.objects.filter(position__gt=1).delete()
        Ledger.objects.update(head=1)
    made = Delivery.objects.count()
    fan_out.fan_out(now=now)

    hook.refresh_from_db()
    assert (hook.active, Delivery.objects.count()) == (False, made)
    assert "older copy" in hook.disabled_reason
    assert [reader.name for reader in positions.ahead()[1]] == [hook.subscription_id]

    call_command("check_consumers", "--reset", hook.subscription_id, "--to", "1")
    webhooks.switch_on(subscription_id=hook.subscription_id, by=admin, now=now)
    fan_out.fan_out(now=now)
    hook.refresh_from_db()
    assert hook.active and Delivery.objects.count() > made and positions.ahead()[1] == []
