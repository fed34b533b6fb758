"""Webhooks from the log to a receiver: signed, tried again over days, given up in the open, never lost in silence."""

import itertools
import json
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat
from django.db import connection
from django.utils import timezone
from standardwebhooks import Webhook, WebhookVerificationError

from events_app import delivering, jobs, ledger, nudging, services, webhooks
from events_app.models import Event, Ledger
from events_app.webhook_models import Delivery, Subscription
from orchestrator_site.actors import Actor
from tests.receivers import Receiver

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


@pytest.fixture(autouse=True)
def loopback(settings: Any) -> None:
    """Let webhooks reach loopback."""
    settings.WEBHOOK_ALLOW_NETS = (ip_network("127.0.0.0/8"),)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def subscribe(admin: Actor, now: datetime, receiver: Receiver) -> Callable[..., Subscription]:
    """Subscribe the receiver: `subscribe(types=["pr.*"])`."""

    def make(**new: Any) -> Subscription:
        return webhooks.subscribe(**{"url": receiver.url, "types": ["pr.*"]} | new, by=admin, now=new.pop("now", now))

    return make


@pytest.fixture
def publish(dev: Actor, now: datetime) -> Callable[..., Event]:
    """Publish an event: `publish("pr.merged")`."""

    def make(event_type: str = "pr.merged", at: datetime | None = None, **payload: Any) -> Event:
        return services.publish(
            event_type=event_type, source_agent="dev_agent", by=dev, now=at or now, payload=payload or None
        )

    return make


def deliver(at: datetime) -> int:
    return delivering.deliver(clock=lambda: at)


def next_due() -> datetime:
    return Delivery.objects.pending().order_by("next_attempt_at").values_list("next_attempt_at", flat=True)[0]


def happened(event_type: str) -> list[dict[str, Any]]:
    return list(Event.objects.filter(event_type=event_type).order_by("pk").values_list("payload", flat=True))


# --- What arrives --------------------------------------------------------------------------------


def test_an_event_arrives_and_the_official_library_verifies_it(db, subscribe, publish, receiver) -> None:
    at = timezone.now()
    subscription = subscribe()
    event = publish(at=at, number=1)

    deliver(at)

    [request] = receiver.requests
    said = Webhook(subscription.secret).verify(request.body, request.headers)
    assert (said["type"], said["timestamp"], said["data"]["payload"]) == (
        "pr.merged",
        at.isoformat().replace("+00:00", "Z"),
        {"number": 1},
    )
    assert request.event_id == said["data"]["event_id"] == event.event_id
    assert request.line == "POST /hook HTTP/1.1" and request.headers["content-type"] == "application/json"
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.attempts, delivery.settled_at) == ("delivered", 1, at)
    assert delivery.log[0] | {"ms": 0} == {"at": at.isoformat(), "status": 200, "ms": 0, "error": "", "answer": "noted"}


def test_one_flipped_bit_is_noticed(db, subscribe, publish, receiver) -> None:
    subscription = subscribe()
    publish(at=timezone.now())
    deliver(timezone.now())
    [request] = receiver.requests

    for place in range(0, len(request.body), 7):
        forged = bytearray(request.body.encode())
        forged[place] ^= 1
        with pytest.raises(WebhookVerificationError):
            Webhook(subscription.secret).verify(bytes(forged), request.headers, json_parse=False)


def test_only_what_was_asked_for_arrives_and_only_from_now_on(db, subscribe, publish, receiver, now) -> None:
    publish("pr.opened")
    subscribe(types=["pr.merged", "build.*"])
    wanted = [publish(kind) for kind in ("pr.merged", "build.done", "build.log.line")]
    publish("pr.closed")

    deliver(now)

    assert sorted(receiver.received()) == sorted(event.event_id for event in wanted)


def test_all_types_can_be_asked_for(db, subscribe, publish, receiver, now) -> None:
    subscribe(types=["*"])
    publish()

    deliver(now)

    kinds = [json.loads(request.body)["type"] for request in receiver.requests]
    assert sorted(kinds) == ["pr.merged", "subscription.created"]


def test_cloudevents_are_what_the_official_sdk_reads(db, subscribe, publish, receiver, now) -> None:
    subscribe(format="cloudevents")
    event = publish(number=1)

    deliver(now)

    [request] = receiver.requests
    said = from_http_event(HTTPMessage(headers=request.headers, body=request.body.encode()), JSONFormat())
    assert (said.get_id(), said.get_type(), said.get_data()) == (event.event_id, "pr.merged", {"number": 1})
    assert request.headers["content-type"] == "application/cloudevents+json"


def test_nobody_is_sent_an_event_twice_however_often_the_log_is_looked_through(
    db, subscribe, publish, receiver, now
) -> None:
    subscribe()
    publish()

    for _ in range(3):
        deliver(now)
    Subscription.objects.update(position=0)
    deliver(now)

    assert len(receiver.requests) == 1


def test_a_subscription_far_behind_keeps_nobody_waiting(db, subscribe, publish, receiver, now, monkeypatch) -> None:
    monkeypatch.setattr(delivering, "PAGE", 2)
    monkeypatch.setattr(delivering, "PAGES", 3)
    for _ in range(20):
        publish()
    far, near = subscribe(types=["pr.*"]), subscribe(types=["pr.*"])
    Subscription.objects.filter(pk=far.pk).update(position=0)
    event = publish()

    made = delivering.fan_out(now=now)

    assert list(near.deliveries.values_list("event_id", flat=True)) == [event.event_id]
    assert made == 1 + far.deliveries.count() and 0 < far.deliveries.count() < 20
    while delivering.fan_out(now=now):
        pass
    assert far.deliveries.count() == 21


# --- What does not -------------------------------------------------------------------------------


def test_attempts_follow_the_schedule_with_the_same_id_and_a_new_time(
    db, subscribe, publish, receiver, now, settings
) -> None:
    settings.WEBHOOK_RETRY_SECONDS = (5, 300, 1800)
    receiver.behave = lambda request: "500"
    subscribe()
    event = publish()

    moments = [now]
    deliver(now)
    while Delivery.objects.pending().exists():
        assert deliver(next_due() - SECOND) == 0
        moments.append(next_due())
        assert deliver(next_due()) == 1

    waits = [(after - before).total_seconds() for before, after in itertools.pairwise(moments)]
    assert all(0.8 * wait <= seen <= 1.2 * wait for wait, seen in zip((5, 300, 1800), waits, strict=True))
    assert receiver.received() == [event.event_id] * 4
    assert [int(request.headers["webhook-timestamp"]) for request in receiver.requests] == [
        int(moment.timestamp()) for moment in moments
    ]
    dead = Delivery.objects.get()
    assert (dead.status, dead.attempts, dead.settled_at) == ("dead", 4, moments[-1])
    assert [entry["error"] for entry in dead.log] == ["The receiver answered 500."] * 4


def test_as_shipped_there_are_ten_attempts_over_three_days(settings) -> None:
    assert len(settings.WEBHOOK_RETRY_SECONDS) == 9
    assert timedelta(days=3) < timedelta(seconds=sum(settings.WEBHOOK_RETRY_SECONDS)) < timedelta(days=4)


@pytest.mark.parametrize(
    ("how", "status", "error"),
    [
        ("302", 302, "The receiver answered 302. Redirects are not followed."),
        ("redirect", 307, "The receiver answered 307. Redirects are not followed."),
        ("404", 404, "The receiver answered 404."),
        ("short", 500, "The receiver answered 500."),
        ("hang", None, "No answer within 0.5 s."),
    ],
)
def test_a_failure_is_written_down(how, status, error, db, subscribe, publish, receiver, now, settings) -> None:
    settings.WEBHOOK_TIMEOUT_SECONDS = 0.5 if how == "hang" else 10
    receiver.behave = lambda request: how
    subscribe()
    publish()

    deliver(now)

    delivery, subscription = Delivery.objects.get(), Subscription.objects.get()
    assert (delivery.status, delivery.attempts) == ("pending", 1)
    assert (delivery.log[0]["status"], delivery.log[0]["error"]) == (status, error)
    assert subscription.failing_since == now


@pytest.mark.parametrize(("asked", "seconds"), [("60", 60), ("0", 4), ("999999", 86_400)])
def test_retry_after_is_honoured_up_to_a_day(asked, seconds, db, subscribe, publish, receiver, now) -> None:
    receiver.behave = lambda request: f"429 {asked}"
    subscribe()
    publish()

    deliver(now)

    assert now + seconds * SECOND <= next_due() <= now + max(seconds, 6) * SECOND


def test_what_arrives_clears_the_failure(db, subscribe, publish, receiver, now) -> None:
    receiver.behave = lambda request: "500" if len(receiver.requests) == 1 else "200"
    subscribe()
    publish()

    deliver(now)
    deliver(next_due())

    assert Delivery.objects.get().status == "delivered"
    assert Subscription.objects.get().failing_since is None


def test_gone_switches_off_and_says_so_and_what_waits_is_kept(db, subscribe, publish, receiver, now, admin) -> None:
    receiver.behave = lambda request: "410"
    subscription = subscribe()
    publish()

    deliver(now)
    later = publish("pr.closed")
    deliver(now + HOUR)

    subscription.refresh_from_db()
    assert (subscription.active, subscription.disabled_reason) == (False, "The receiver answered 410 Gone.")
    [said] = happened("subscription.disabled")
    assert said == {
        "subscription_id": subscription.subscription_id,
        "host": "127.0.0.1",
        "reason": "The receiver answered 410 Gone.",
    }
    assert Delivery.objects.get().status == "dead" and len(receiver.requests) == 1
    receiver.behave = lambda request: "200"
    webhooks.switch_on(subscription_id=subscription.subscription_id, by=admin, now=now + 2 * HOUR)
    deliver(now + 2 * HOUR)
    assert receiver.received()[1:] == [later.event_id]


def test_deliveries_given_up_in_a_row_switch_off(db, subscribe, publish, receiver, now, settings) -> None:
    settings.WEBHOOK_RETRY_SECONDS = ()
    receiver.behave = lambda request: "500"
    subscription = subscribe()
    for _ in range(delivering.OFF_AFTER - 1):
        publish()
    deliver(now)
    assert Subscription.objects.get().active

    publish()
    deliver(now)

    subscription.refresh_from_db()
    assert (subscription.active, subscription.disabled_reason) == (False, "5 deliveries in a row were given up.")
    assert subscription.deliveries.filter(status="dead").count() == 5


@pytest.mark.parametrize(("days", "status"), [(4.99, "pending"), (5, "dead")])
def test_after_five_days_of_failures_a_single_one_is_enough(
    days, status, db, subscribe, publish, receiver, now
) -> None:
    receiver.behave = lambda request: "500"
    subscribe()
    Subscription.objects.update(failing_since=now - timedelta(days=days))
    publish()

    deliver(now)

    assert Delivery.objects.get().status == status


def test_a_dead_endpoint_does_not_hold_up_others(db, subscribe, publish, receiver, now) -> None:
    with Receiver() as dead, Receiver() as dead_too:
        hanging = (dead, dead_too)
        for one in hanging:
            one.behave = lambda request: "hang"
            subscribe(url=one.url)
        subscribe()
        for _ in range(30):
            publish()
        seen: list[int] = []

        def behave(request: Any) -> str:
            if len(receiver.requests) == 30:
                seen.extend(one.connections for one in hanging)
                for one in hanging:
                    one.released.set()  # only now
            return "200"

        receiver.behave = behave
        deliver(now)

        assert Delivery.objects.filter(status="delivered").count() == 30
        assert max(seen) <= delivering.PER_ENDPOINT


def test_one_that_fails_is_asked_by_one_request_at_a_time(db, subscribe, publish, now) -> None:
    subscribe()
    for _ in range(5):
        publish()
    delivering.fan_out(now=now)
    Subscription.objects.update(failing_since=now)

    assert len(delivering.Sender(lambda: now, time.monotonic() + 9).take()) == 1


# --- Workers -------------------------------------------------------------------------------------


def test_what_a_killed_worker_had_in_hand_comes_back(db, subscribe, publish, receiver, now) -> None:
    subscribe()
    publish()
    delivering.fan_out(now=now)
    [in_hand] = delivering.Sender(lambda: now, time.monotonic() + 9).take()

    assert deliver(now + delivering.LEASE - SECOND) == 0
    assert deliver(now + delivering.LEASE) == 1

    assert Delivery.objects.get().status == "delivered"
    delivering.settle(in_hand, delivering.Outcome(500, 1, "too late"), now=now + delivering.LEASE)
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.attempts, len(delivery.log)) == ("delivered", 1, 1)


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_two_workers_at_once_send_each_event_once(subscribe, publish, receiver, now) -> None:
    subscribe()
    events = [publish() for _ in range(60)]
    start = threading.Barrier(3)

    def work() -> None:
        start.wait()
        for _ in range(30):
            delivering.fan_out(now=now)
            delivering.Sender(lambda: now, time.monotonic() + 20).run()
            if Delivery.objects.filter(status="delivered").count() == len(events):
                break
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert Counter(receiver.received()) == {event.event_id: 1 for event in events}
    assert Delivery.objects.filter(status="delivered", attempts=1).count() == len(events)


def test_whoever_comes_while_one_sends_leaves_it_the_work(db, subscribe, publish, receiver, now) -> None:
    subscribe()
    publish()
    delivering.fan_out(now=now)

    with delivering._sending:
        assert delivering.send_due(clock=lambda: now) == 0

    assert delivering.send_due(clock=lambda: now) == 1


def test_a_fault_of_ours_does_not_keep_the_others_from_being_sent(
    db, subscribe, publish, receiver, now, monkeypatch
) -> None:
    good = delivering.safe_http.post

    def post(url: str, **asked: Any) -> Any:
        if '"bad":true' in asked["body"].decode():
            raise RuntimeError("a bug")
        return good(url, **asked)

    monkeypatch.setattr(delivering.safe_http, "post", post)
    subscribe()
    publish(bad=True)
    publish(bad=False)

    deliver(now)

    assert sorted(Delivery.objects.values_list("status", flat=True)) == ["delivered", "pending"]


# --- By hand -------------------------------------------------------------------------------------


def test_both_secrets_sign_for_a_day_after_rotation(db, subscribe, publish, receiver, admin) -> None:
    at = timezone.now()
    old = subscribe()
    new = webhooks.rotate(subscription_id=old.subscription_id, by=admin, now=at - timedelta(hours=23, minutes=59))
    publish()
    deliver(at)
    webhooks.rotate(subscription_id=old.subscription_id, by=admin, now=at - 24 * HOUR)
    publish()
    deliver(at)

    rotating, after = receiver.requests
    assert new.secret != old.secret
    for secret in (old.secret, new.secret):
        Webhook(secret).verify(rotating.body, rotating.headers)
    assert after.headers["webhook-signature"].count("v1,") == 1
    with pytest.raises(WebhookVerificationError):
        Webhook(new.secret).verify(after.body, after.headers)


def test_a_secret_is_in_no_event_and_in_no_log(db, subscribe, publish, receiver, admin, now, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.behave = lambda request: "500"
    subscription = subscribe(url=f"{receiver.url}?token=hush")
    rotated = webhooks.rotate(subscription_id=subscription.subscription_id, by=admin, now=now)
    publish()
    deliver(now)
    webhooks.delete(subscription_id=subscription.subscription_id, by=admin, now=now)

    said = json.dumps(list(Event.objects.values("event_type", "payload"))) + caplog.text + str(rotated)
    for secret in (subscription.secret, rotated.secret, "hush"):
        assert secret not in said
    assert [len(happened(f"subscription.{did}")) for did in ("created", "rotated", "deleted")] == [1, 1, 1]


def test_one_event_can_be_sent_again(db, subscribe, publish, receiver, admin, now) -> None:
    subscription = subscribe()
    event, missed = publish(), publish("build.done")
    deliver(now)

    for event_id in (event.event_id, missed.event_id):
        webhooks.resend(subscription_id=subscription.subscription_id, event_id=event_id, by=admin, now=now)
    deliver(now)

    assert Counter(receiver.received()) == {event.event_id: 2, missed.event_id: 1}
    assert len(Delivery.objects.get(event_id=event.event_id).log) == 2


def test_all_since_a_time_can_be_sent_again_also_from_before_the_subscription(
    db, subscribe, publish, receiver, admin, now
) -> None:
    publish(at=now - 2 * HOUR)
    before = publish(at=now - HOUR)
    subscription = subscribe()
    after = publish(at=now)
    deliver(now)

    again = webhooks.resend(subscription_id=subscription.subscription_id, since=now - HOUR, by=admin, now=now + HOUR)
    deliver(now + HOUR)

    assert again == 1
    assert Counter(receiver.received()) == {before.event_id: 1, after.event_id: 2}


def test_what_is_dead_can_be_sent_again_with_all_its_attempts(db, subscribe, publish, receiver, admin, now) -> None:
    subscription = subscribe()
    event = publish()
    delivering.fan_out(now=now)
    Delivery.objects.update(status="dead", attempts=10, settled_at=now)

    webhooks.resend(subscription_id=subscription.subscription_id, event_id=event.event_id, by=admin, now=now)
    deliver(now)

    assert Delivery.objects.values_list("status", "attempts").get() == ("delivered", 1)


def test_resending_asks_for_one_of_both_and_for_a_subscription_that_is_on(db, subscribe, admin, now) -> None:
    subscription_id = subscribe().subscription_id
    for wrong in ({}, {"event_id": "evt_1", "since": now}):
        with pytest.raises(webhooks.Invalid):
            webhooks.resend(subscription_id=subscription_id, by=admin, now=now, **wrong)
    with pytest.raises(webhooks.UnknownEvent):
        webhooks.resend(subscription_id=subscription_id, by=admin, now=now, event_id="evt_1")

    webhooks.switch_off(subscription_id=subscription_id, by=admin, now=now, reason="")
    with pytest.raises(webhooks.SwitchedOff):
        webhooks.resend(subscription_id=subscription_id, by=admin, now=now, since=now)


def test_deleting_forgets_what_was_on_its_way(db, subscribe, publish, receiver, admin, now) -> None:
    subscription = subscribe()
    publish()
    delivering.fan_out(now=now)
    [in_hand] = delivering.Sender(lambda: now, time.monotonic() + 9).take()

    webhooks.delete(subscription_id=subscription.subscription_id, by=admin, now=now)
    delivering.settle(in_hand, delivering.Outcome(500, 1, "late"), now=now)

    assert not Delivery.objects.exists() and deliver(now) == 0


# --- What is kept --------------------------------------------------------------------------------


def test_the_log_is_kept_for_what_is_unread_or_unsent(db, subscribe, publish, receiver, admin, now) -> None:
    assert webhooks.oldest_needed() is None
    receiver.behave = lambda request: "500"
    subscription = subscribe()
    first = publish()
    deliver(now)
    publish("build.done")
    deliver(now)

    assert webhooks.oldest_needed() == Event.objects.get(pk=first.pk).position - 1
    webhooks.switch_off(subscription_id=subscription.subscription_id, by=admin, now=now, reason="")
    assert webhooks.oldest_needed() is None


def test_settled_deliveries_go_with_the_log(db, subscribe, publish, receiver, admin, now) -> None:
    subscription = subscribe()
    publish()
    deliver(now)
    webhooks.rotate(subscription_id=subscription.subscription_id, by=admin, now=now)

    assert delivering.forget(now=now + 24 * HOUR - SECOND) == 0
    assert Subscription.objects.get().previous_secret
    Ledger.objects.update(pruned_to=ledger.head())
    assert delivering.forget(now=now + 24 * HOUR) == 1
    assert not Subscription.objects.get().previous_secret and not Delivery.objects.exists()


def test_events_pruned_before_they_were_read_switch_off(db, subscribe, publish, now) -> None:
    subscribe()
    publish()
    Ledger.objects.update(pruned_to=ledger.head())
    publish()

    deliver(now)

    assert Subscription.objects.get().disabled_reason == "Events it had not been sent yet were pruned."


def test_an_event_pruned_before_it_was_sent_is_given_up(db, subscribe, publish, receiver, now) -> None:
    subscribe()
    event = publish()
    delivering.fan_out(now=now)
    Event.objects.filter(pk=event.pk).delete()

    deliver(now)

    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.log[0]["error"]) == ("dead", delivering.LOST)
    assert receiver.requests == []


# --- Wake-ups ------------------------------------------------------------------------------------


def test_a_worker_is_asked_once_and_only_when_somebody_has_subscribed(db, subscribe) -> None:
    assert nudging.nudge() is False

    subscribe()

    assert [nudging.nudge(), nudging.nudge()] == [True, False]
    nudging.nudged()
    assert nudging.nudge() is True


def test_the_job_delivers(db, subscribe, publish, receiver) -> None:
    subscribe()
    publish()

    jobs.deliver_webhooks()

    assert len(receiver.requests) == 1


# --- All at once ---------------------------------------------------------------------------------


def test_everything_arrives_or_is_visibly_given_up_by_a_receiver_out_of_its_mind(
    db, subscribe, publish, receiver, now, settings
) -> None:
    settings.WEBHOOK_TIMEOUT_SECONDS = 0.3
    settings.WEBHOOK_RETRY_SECONDS = (5, 300, 1800)
    chance = random.Random(11)
    ways = ["200"] * 8 + ["500", "503 9", "404", "302", "reset", "half", "short", "garbage", "hang", "drip", "flood"]
    receiver.behave = lambda request: chance.choice(ways)
    subscription = subscribe()
    events = [publish(number=number) for number in range(100)]

    deliver(now)
    while Delivery.objects.pending().exists() and Subscription.objects.get().active:
        deliver(next_due())

    states = Counter(Delivery.objects.values_list("status", flat=True))
    assert states["delivered"] + states["dead"] == len(events) and states["delivered"] > 50
    for delivery in Delivery.objects.filter(status="dead"):
        assert len(delivery.log) == 4 and all(entry["error"] for entry in delivery.log)
    arrived = set(Delivery.objects.filter(status="delivered").values_list("event_id", flat=True))
    assert arrived <= set(receiver.received()) and subscription.deliveries.count() == len(events)
