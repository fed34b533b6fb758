"""Webhooks that do not: tried again over days, given up in the open, never lost in silence."""

import itertools
import random
import time
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from events_app.models import Delivery, Subscription
from events_app.webhooks import fan_out, sender
from events_app.webhooks import services as webhooks
from tests.integration.webhooks.steps import HOUR, SECOND, deliver, happened, next_due
from tests.support.receivers import Receiver


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
    assert all(
        0.8 * wait <= seen <= 1.2 * wait for wait, seen in zip((5, 300, 1800), waits, strict=True)
    )
    assert receiver.received() == [event.event_id] * 4
    assert [int(request.headers["webhook-timestamp"]) for request in receiver.requests] == [
        int(moment.timestamp()) for moment in moments
    ]
    dead = Delivery.objects.get()
    assert (dead.status, dead.attempts, dead.settled_at) == ("dead", 4, moments[-1])
    assert [entry["error"] for entry in dead.log] == ["The receiver answered 500."] * 4


def test_as_shipped_there_are_ten_attempts_over_three_days(settings) -> None:
    assert len(settings.WEBHOOK_RETRY_SECONDS) == 9
    assert (
        timedelta(days=3)
        < timedelta(seconds=sum(settings.WEBHOOK_RETRY_SECONDS))
        < timedelta(days=4)
    )


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
def test_a_failure_is_written_down(
    how, status, error, db, subscribe, publish, receiver, now, settings
) -> None:
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
def test_retry_after_is_honoured_up_to_a_day(
    asked, seconds, db, subscribe, publish, receiver, now
) -> None:
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


def test_gone_switches_off_and_says_so_and_what_waits_is_kept(
    db, subscribe, publish, receiver, now, admin
) -> None:
    receiver.behave = lambda request: "410"
    subscription = subscribe()
    publish()

    deliver(now)
    later = publish("pr.closed")
    deliver(now + HOUR)

    subscription.refresh_from_db()
    assert (subscription.active, subscription.disabled_reason) == (
        False,
        "The receiver answered 410 Gone.",
    )
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


def test_deliveries_given_up_in_a_row_switch_off(
    db, subscribe, publish, receiver, now, settings
) -> None:
    settings.WEBHOOK_RETRY_SECONDS = ()
    receiver.behave = lambda request: "500"
    subscription = subscribe()
    for _ in range(sender.OFF_AFTER - 1):
        publish()
    deliver(now)
    assert Subscription.objects.get().active

    publish()
    deliver(now)

    subscription.refresh_from_db()
    assert (subscription.active, subscription.disabled_reason) == (
        False,
        "5 deliveries in a row were given up.",
    )
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
        assert max(seen) <= sender.PER_ENDPOINT


def test_one_that_fails_is_asked_by_one_request_at_a_time(db, subscribe, publish, now) -> None:
    subscribe()
    for _ in range(5):
        publish()
    fan_out.fan_out(now=now)
    Subscription.objects.update(failing_since=now)

    assert len(sender.Sender(lambda: now, time.monotonic() + 9).take()) == 1


def test_everything_arrives_or_is_given_up_in_the_open_if_a_receiver_misbehaves(
    db, subscribe, publish, receiver, now, settings
) -> None:
    settings.WEBHOOK_TIMEOUT_SECONDS = 0.3
    settings.WEBHOOK_RETRY_SECONDS = (5, 300, 1800)
    chance = random.Random(11)
    ways = ["200"] * 8 + [
        "500",
        "503 9",
        "404",
        "302",
        "reset",
        "half",
        "short",
        "garbage",
        "hang",
        "drip",
        "flood",
    ]
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
