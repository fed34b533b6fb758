"""Webhooks that arrive: signed, once each, as asked for."""

import json

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat
from django.utils import timezone
from standardwebhooks import Webhook, WebhookVerificationError

from events_app.models import Delivery, Subscription
from events_app.webhooks import fan_out, sender
from tests.integration.test_queries_counted import kinds, statements
from tests.integration.webhooks.steps import deliver


def test_an_event_arrives_and_the_official_library_verifies_it(
    db, subscribe, publish, receiver
) -> None:
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
    assert (
        request.line == "POST /hook HTTP/1.1"
        and request.headers["content-type"] == "application/json"
    )
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.attempts, delivery.settled_at) == ("delivered", 1, at)
    assert delivery.log[0] | {"ms": 0} == {
        "at": at.isoformat(),
        "status": 200,
        "ms": 0,
        "error": "",
        "answer": "noted",
    }


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


def test_only_what_was_asked_for_arrives_and_only_from_now_on(
    db, subscribe, publish, receiver, now
) -> None:
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
    said = from_http_event(
        HTTPMessage(headers=request.headers, body=request.body.encode()), JSONFormat()
    )
    assert (said.get_id(), said.get_type(), said.get_data()) == (
        event.event_id,
        "pr.merged",
        {"number": 1},
    )
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


def test_a_subscription_far_behind_keeps_nobody_waiting(
    db, subscribe, publish, receiver, now, monkeypatch
) -> None:
    monkeypatch.setattr(fan_out, "PAGE", 2)
    monkeypatch.setattr(fan_out, "PAGES", 3)
    for _ in range(20):
        publish()
    far, near = subscribe(types=["pr.*"]), subscribe(types=["pr.*"])
    Subscription.objects.filter(pk=far.pk).update(position=0)
    event = publish()

    made = fan_out.fan_out(now=now)

    assert list(near.deliveries.values_list("event_id", flat=True)) == [event.event_id]
    assert made == 1 + far.deliveries.count() and 0 < far.deliveries.count() < 20
    while fan_out.fan_out(now=now):
        pass
    assert far.deliveries.count() == 21


SENDS_ONE = ["SELECT", "SELECT", "UPDATE", "SELECT", "UPDATE", "SELECT"]


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_sending_one_event_to_a_receiver_that_works_costs_six_statements(
    subscribe, publish, receiver, now
) -> None:
    subscribe()
    publish()
    fan_out.fan_out(now=now)

    with statements() as sent:
        assert sender.send_due(clock=lambda: now) == 1

    assert kinds(sent) == SENDS_ONE, sent


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_delivering_one_event_costs_at_most_twenty_two_statements(
    subscribe, publish, receiver, now
) -> None:
    subscribe()
    publish()

    with statements() as sent:
        assert deliver(now) == 1

    assert len(kinds(sent)) <= 22, sent
