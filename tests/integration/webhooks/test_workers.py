"""Workers that deliver webhooks: killed, two at once, woken."""

import threading
import time
from collections import Counter
from typing import Any

import pytest
from django.db import connection

from events_app import jobs
from events_app.models import Delivery
from events_app.webhooks import fan_out, http_client, sender, trigger
from tests.integration.webhooks.steps import SECOND, deliver


def test_what_a_killed_worker_had_in_hand_comes_back(db, subscribe, publish, receiver, now) -> None:
    subscribe()
    publish()
    fan_out.fan_out(now=now)
    [in_hand] = sender.Sender(lambda: now, time.monotonic() + 9).take()

    assert deliver(now + sender.LEASE - SECOND) == 0
    assert deliver(now + sender.LEASE) == 1

    assert Delivery.objects.get().status == "delivered"
    sender.record_outcome(in_hand, sender.Outcome(500, 1, "too late"), now=now + sender.LEASE)
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
            fan_out.fan_out(now=now)
            sender.Sender(lambda: now, time.monotonic() + 20).run()
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


def test_whoever_comes_while_one_sends_leaves_it_the_work(
    db, subscribe, publish, receiver, now
) -> None:
    subscribe()
    publish()
    fan_out.fan_out(now=now)

    with sender._sending:
        assert sender.send_due(clock=lambda: now) == 0

    assert sender.send_due(clock=lambda: now) == 1


def test_a_fault_of_ours_does_not_keep_the_others_from_being_sent(
    db, subscribe, publish, receiver, now, monkeypatch
) -> None:
    good = http_client.post

    def post(url: str, **asked: Any) -> Any:
        if '"bad":true' in asked["body"].decode():
            raise RuntimeError("a bug")
        return good(url, **asked)

    monkeypatch.setattr(http_client, "post", post)
    subscribe()
    publish(bad=True)
    publish(bad=False)

    deliver(now)

    assert sorted(Delivery.objects.values_list("status", flat=True)) == ["delivered", "pending"]


def test_a_worker_is_asked_once_and_only_when_somebody_has_subscribed(db, subscribe) -> None:
    assert trigger.request_delivery() is False

    subscribe()

    assert [trigger.request_delivery(), trigger.request_delivery()] == [True, False]
    trigger.delivery_started()
    assert trigger.request_delivery() is True


def test_the_job_delivers(db, subscribe, publish, receiver) -> None:
    subscribe()
    publish()

    jobs.deliver_webhooks()

    assert len(receiver.requests) == 1
