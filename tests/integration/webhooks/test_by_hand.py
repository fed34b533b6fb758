"""What is done to webhooks by hand, and what is kept of them."""

import json
import logging
import time
from collections import Counter
from datetime import timedelta

import pytest
from django.utils import timezone
from standardwebhooks import Webhook, WebhookVerificationError

from events_app import errors
from events_app.log import sequencing
from events_app.models import Delivery, Event, Ledger, Subscription
from events_app.webhooks import fan_out, sender
from events_app.webhooks import services as webhooks
from orchestrator_site.core.errors import Invalid
from tests.integration.webhooks.steps import HOUR, SECOND, deliver, happened


def test_both_secrets_sign_for_a_day_after_rotation(
    db, subscribe, publish, receiver, admin
) -> None:
    at = timezone.now()
    old = subscribe()
    new = webhooks.rotate(
        subscription_id=old.subscription_id, by=admin, now=at - timedelta(hours=23, minutes=59)
    )
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


def test_a_secret_is_in_no_event_and_in_no_log(
    db, subscribe, publish, receiver, admin, now, caplog
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.behave = lambda request: "500"
    subscription = subscribe(url=f"{receiver.url}?token=hush")
    rotated = webhooks.rotate(subscription_id=subscription.subscription_id, by=admin, now=now)
    publish()
    deliver(now)
    webhooks.delete(subscription_id=subscription.subscription_id, by=admin, now=now)

    said = (
        json.dumps(list(Event.objects.values("event_type", "payload"))) + caplog.text + str(rotated)
    )
    for secret in (subscription.secret, rotated.secret, "hush"):
        assert secret not in said
    assert [len(happened(f"subscription.{did}")) for did in ("created", "rotated", "deleted")] == [
        1,
        1,
        1,
    ]


def test_one_event_can_be_sent_again(db, subscribe, publish, receiver, admin, now) -> None:
    subscription = subscribe()
    event, missed = publish(), publish("build.done")
    deliver(now)

    for event_id in (event.event_id, missed.event_id):
        webhooks.resend(
            subscription_id=subscription.subscription_id, event_id=event_id, by=admin, now=now
        )
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

    again = webhooks.resend(
        subscription_id=subscription.subscription_id, since=now - HOUR, by=admin, now=now + HOUR
    )
    deliver(now + HOUR)

    assert again == 1
    assert Counter(receiver.received()) == {before.event_id: 1, after.event_id: 2}


def test_what_is_dead_can_be_sent_again_with_all_its_attempts(
    db, subscribe, publish, receiver, admin, now
) -> None:
    subscription = subscribe()
    event = publish()
    fan_out.fan_out(now=now)
    Delivery.objects.update(status="dead", attempts=10, settled_at=now)

    webhooks.resend(
        subscription_id=subscription.subscription_id, event_id=event.event_id, by=admin, now=now
    )
    deliver(now)

    assert Delivery.objects.values_list("status", "attempts").get() == ("delivered", 1)


def test_resending_asks_for_one_of_both_and_for_a_subscription_that_is_on(
    db, subscribe, admin, now
) -> None:
    subscription_id = subscribe().subscription_id
    for wrong in ({}, {"event_id": "evt_1", "since": now}):
        with pytest.raises(Invalid):
            webhooks.resend(subscription_id=subscription_id, by=admin, now=now, **wrong)
    with pytest.raises(errors.UnknownEvent):
        webhooks.resend(subscription_id=subscription_id, by=admin, now=now, event_id="evt_1")

    webhooks.switch_off(subscription_id=subscription_id, by=admin, now=now, reason="")
    with pytest.raises(errors.SwitchedOff):
        webhooks.resend(subscription_id=subscription_id, by=admin, now=now, since=now)


def test_switching_twice_is_switching_once(db, subscribe, admin, now) -> None:
    name = subscribe().subscription_id
    by_hand = {"subscription_id": name, "by": admin, "now": now}

    for _ in range(2):
        assert not webhooks.switch_off(**by_hand, reason="Moving").active
    for _ in range(2):
        assert webhooks.switch_on(**by_hand).active

    assert [event["reason"] for event in happened("subscription.disabled")] == ["Moving"]
    assert len(happened("subscription.enabled")) == 1


def test_there_are_no_more_subscriptions_than_the_operator_allows(db, settings, subscribe) -> None:
    settings.WEBHOOK_MAX_SUBSCRIPTIONS = 1
    only = subscribe()

    with pytest.raises(errors.TooManySubscriptions):
        subscribe()
    assert webhooks.newest() == [only]


def test_deliveries_are_paged_from_the_newest_and_narrowed_by_how_they_fare(
    db, subscribe, publish, receiver, now
) -> None:
    name = subscribe().subscription_id
    first, second, third = (publish().event_id for _ in range(3))
    receiver.behave = lambda request: "500" if request.event_id == second else "200"
    deliver(now)

    page, below = webhooks.deliveries(subscription_id=name, limit=2)
    rest, end = webhooks.deliveries(subscription_id=name, limit=2, below=below)
    waiting, _ = webhooks.deliveries(subscription_id=name, limit=2, status="pending")

    assert [row.event_id for row in [*page, *rest]] == [third, second, first] and end is None
    assert [row.event_id for row in waiting] == [second]


def test_deleting_forgets_what_was_on_its_way(db, subscribe, publish, receiver, admin, now) -> None:
    subscription = subscribe()
    publish()
    fan_out.fan_out(now=now)
    [in_hand] = sender.Sender(lambda: now, time.monotonic() + 9).take()

    webhooks.delete(subscription_id=subscription.subscription_id, by=admin, now=now)
    sender.record_outcome(in_hand, sender.Outcome(500, 1, "late"), now=now)

    assert not Delivery.objects.exists() and deliver(now) == 0


def test_the_log_is_kept_for_what_is_unread_or_unsent(
    db, subscribe, publish, receiver, admin, now
) -> None:
    assert webhooks.oldest_needed() is None
    receiver.behave = lambda request: "500"
    subscription = subscribe()
    first = publish()
    deliver(now)
    publish("build.done")
    deliver(now)

    assert webhooks.oldest_needed() == first.place - 1
    webhooks.switch_off(subscription_id=subscription.subscription_id, by=admin, now=now, reason="")
    assert webhooks.oldest_needed() is None


def test_settled_deliveries_go_with_the_log(db, subscribe, publish, receiver, admin, now) -> None:
    subscription = subscribe()
    publish()
    deliver(now)
    webhooks.rotate(subscription_id=subscription.subscription_id, by=admin, now=now)

    assert fan_out.forget(now=now + 24 * HOUR - SECOND) == 0
    assert Subscription.objects.get().previous_secret
    Ledger.objects.update(pruned_to=sequencing.head())
    assert fan_out.forget(now=now + 24 * HOUR) == 1
    assert not Subscription.objects.get().previous_secret and not Delivery.objects.exists()


def test_events_pruned_before_they_were_read_switch_off(db, subscribe, publish, now) -> None:
    subscribe()
    publish()
    Ledger.objects.update(pruned_to=sequencing.head())
    publish()

    deliver(now)

    assert (
        Subscription.objects.get().disabled_reason == "Events it had not been sent yet were pruned."
    )


def test_an_event_pruned_before_it_was_sent_is_given_up(
    db, subscribe, publish, receiver, now
) -> None:
    subscribe()
    event = publish()
    fan_out.fan_out(now=now)
    Event.objects.filter(event_id=event.event_id).delete()

    deliver(now)

    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.log[0]["error"]) == ("dead", sender.LOST)
    assert receiver.requests == []
