"""Send due deliveries, a few at a time per endpoint, until they arrive or are given up."""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from events_app.log.cloudevents import STRUCTURED, cloud_event
from events_app.models import Delivery, Event, Format, Subscription
from events_app.webhooks import http_client, retry, signing, url_policy
from events_app.webhooks import services as webhooks
from events_app.webhooks.fan_out import fan_out
from orchestrator_site.core.actors import SYSTEM

THREADS = 8


PER_ENDPOINT = 3  # requests at once to one that works; to one that fails, a single one


FOR_FAILING = 4  # threads that all failing ones together may hold


BUDGET = 20  # seconds after which a run begins no further request


LEASE = timedelta(seconds=60)  # far longer than a request may take


HOPELESS = timedelta(days=5)


OFF_AFTER = 5  # deliveries given up in a row


GONE = 410


LOST = "The event is no longer kept."


Clock = Callable[[], datetime]


logger = logging.getLogger(__name__)


_sending, _asked = threading.Lock(), threading.Event()


class Sending(NamedTuple):
    """A delivery in the hand of this process, and what is to be sent."""

    subscription: Subscription
    delivery: Delivery
    url: str
    body: bytes
    headers: dict[str, str]


class Outcome(NamedTuple):
    """How one attempt went. status: 0 without an answer. ms: how long it took."""

    status: int
    ms: int
    error: str = ""
    retry_after: str = ""
    answer: str = ""

    @property
    def arrived(self) -> bool:
        """Return whether the receiver took it."""
        return 200 <= self.status < 300


def deliver(*, clock: Clock) -> int:
    """Write down what subscriptions want of the log, and send what is due; return how many were sent."""
    fan_out(now=clock())
    return send_due(clock=clock)


def send_due(*, clock: Clock) -> int:
    """Send what is due, one run at a time in each process; return how many requests were made.

    Whoever comes while one runs leaves it the work: the run looks again before it ends.
    """
    sent, until = 0, time.monotonic() + BUDGET
    _asked.set()
    while _asked.is_set() and time.monotonic() < until and _sending.acquire(blocking=False):
        try:
            _asked.clear()
            sent += Sender(clock, until).run()
        finally:
            _sending.release()
    return sent


class Sender:
    """One run: a few threads that send, and this one that hands them rows and writes down what came of it."""

    def __init__(self, clock: Clock, until: float) -> None:
        """until: on the monotonic clock; then no further request is begun."""
        self.clock, self.until = clock, until
        self.flying: dict[Future[Outcome], Sending] = {}

    def run(self) -> int:
        """Send until nothing is due or the time is over; return how many requests were made."""
        sent, reach = 0, webhooks.reach()
        with ThreadPoolExecutor(THREADS, thread_name_prefix="webhooks") as pool:
            while True:
                for sending in self.take() if time.monotonic() < self.until else []:
                    self.flying[pool.submit(attempt, sending, reach)] = sending
                if not self.flying:
                    return sent
                for future in wait(self.flying, return_when=FIRST_COMPLETED).done:
                    settle(self.flying.pop(future), future.result(), now=self.clock())
                    sent += 1

    def take(self) -> list[Sending]:
        """Take up as many due deliveries as there are threads for, of those that work before those that fail."""
        now, taken = self.clock(), list[Sending]()
        if len(self.flying) == THREADS:
            return taken
        waiting = sorted(
            Subscription.objects.due(now),
            key=lambda one: (is_failing(one), random.random()),  # noqa: S311
        )
        for subscription in waiting:
            room = self.room_for(subscription, taken)
            rows = (
                Delivery.objects.due(now)
                .filter(subscription=subscription)
                .order_by("next_attempt_at", "pk")
            )
            mine = [row for row in rows[:room] if taken_up(row, now=now)] if room > 0 else []
            taken += messages_of(subscription, mine, now=now)
        return taken

    def room_for(self, subscription: Subscription, taken: list[Sending]) -> int:
        """Return how many more requests may go to an endpoint now: those that hang must leave room for others."""
        flying = [sending.subscription for sending in (*self.flying.values(), *taken)]
        here, free = Counter(one.pk for one in flying)[subscription.pk], THREADS - len(flying)
        if is_failing(subscription):
            return min(1 - here, FOR_FAILING - sum(map(is_failing, flying)), free)
        return min(PER_ENDPOINT - here, free)


def is_failing(subscription: Subscription) -> bool:
    """Return whether the last thing heard of an endpoint was a failure."""
    return subscription.failing_since is not None


def taken_up(delivery: Delivery, *, now: datetime) -> bool:
    """Take a delivery for LEASE; return False if somebody else did."""
    delivery.claim += 1
    mine = Delivery.objects.due(now).filter(pk=delivery.pk, claim=delivery.claim - 1)
    return bool(mine.update(claim=delivery.claim, next_attempt_at=now + LEASE))


def messages_of(
    subscription: Subscription, rows: list[Delivery], *, now: datetime
) -> list[Sending]:
    """Return what is to be sent; what cannot be, because its event was pruned, is given up."""
    events = (
        Event.objects.in_bulk([row.event_id for row in rows], field_name="event_id") if rows else {}
    )
    for row in rows:
        if row.event_id not in events:
            Delivery.objects.filter(pk=row.pk, claim=row.claim).update(
                status=Delivery.Status.DEAD,
                settled_at=now,
                log=logged(row, Outcome(0, 0, LOST), now=now),
            )
    return [
        message(subscription, row, events[row.event_id], now=now)
        for row in rows
        if row.event_id in events
    ]


def message(
    subscription: Subscription, delivery: Delivery, event: Event, *, now: datetime
) -> Sending:
    """Return one signed message: the same id at every attempt, a new time, one signature for each secret."""
    if subscription.format == Format.CLOUDEVENTS:
        kind, body = STRUCTURED, signing.as_json(cloud_event(event))
    else:
        kind, body = "application/json", signing.body_of(event)
    headers = signing.signed(
        subscription.secrets(now), message_id=event.event_id, at=now, body=body
    )
    about = {"Content-Type": kind, "User-Agent": f"Orchestrator/{settings.VERSION}"}
    return Sending(subscription, delivery, subscription.url, body.encode(), about | headers)


def attempt(sending: Sending, reach: url_policy.Reach) -> Outcome:
    """Send one message; return how it went. Touches no database."""
    began = time.monotonic()
    try:
        seconds = settings.WEBHOOK_TIMEOUT_SECONDS
        answer = http_client.post(
            sending.url, body=sending.body, headers=sending.headers, reach=reach, seconds=seconds
        )
    except http_client.Failed as failure:
        return Outcome(0, since(began), str(failure))
    except Exception:  # a fault of ours must not keep the others from being sent
        logger.exception("%s could not be sent to %s.", sending.delivery, sending.subscription)
        return Outcome(0, since(began), "An internal fault; it was logged.")
    error = "" if 200 <= answer.status < 300 else f"The receiver answered {answer.status}."
    error += " Redirects are not followed." if 300 <= answer.status < 400 else ""
    return Outcome(answer.status, since(began), error, answer.retry_after, answer.body)


def since(began: float) -> int:
    """Return the milliseconds gone by."""
    return int((time.monotonic() - began) * 1000)


@transaction.atomic
def settle(sending: Sending, outcome: Outcome, *, now: datetime) -> None:
    """Write down how an attempt went, and when the next is due, unless somebody else has the delivery by now."""
    delivery = sending.delivery
    rows = Subscription.objects.select_for_update().filter(pk=sending.subscription.pk)
    if outcome.arrived:  # a working endpoint's row is left alone
        rows = rows.exclude(Q(failing_since=None) & Q(dead_in_a_row=0))
    subscription = rows.first()
    again = None if outcome.arrived else next_attempt_at(sending, subscription, outcome, now=now)
    status = Delivery.Status.PENDING if again else Delivery.Status.DEAD
    mine = (
        Delivery.objects.pending()
        .filter(pk=delivery.pk, claim=delivery.claim)
        .update(
            status=Delivery.Status.DELIVERED if outcome.arrived else status,
            attempts=delivery.attempts + 1,
            next_attempt_at=again or now,
            settled_at=None if again else now,
            log=logged(delivery, outcome, now=now),
        )
    )
    if mine and subscription:
        note(subscription, outcome, dead=not outcome.arrived and not again, now=now)


def next_attempt_at(
    sending: Sending, subscription: Subscription | None, outcome: Outcome, *, now: datetime
) -> datetime | None:
    """Return when a failed delivery is tried again, None if it is given up."""
    failing_since = subscription.failing_since if subscription else None
    if outcome.status == GONE or (failing_since and now - failing_since >= HOPELESS):
        return None
    return retry.next_attempt_at(
        attempts=sending.delivery.attempts + 1,
        now=now,
        waits=settings.WEBHOOK_RETRY_SECONDS,
        jitter=random.uniform(-1, 1),  # noqa: S311 - spreads load, hides nothing
        retry_after=retry.retry_after(outcome.retry_after, now=now),
    )


def logged(delivery: Delivery, outcome: Outcome, *, now: datetime) -> list[dict[str, object]]:
    """Return the log of a delivery with one more attempt."""
    entry = {
        "at": now.isoformat(),
        "status": outcome.status or None,
        "ms": outcome.ms,
        "error": outcome.error[:500],
        "answer": outcome.answer,
    }
    return [*delivery.log, entry][-Delivery.KEPT_ATTEMPTS :]


def note(subscription: Subscription, outcome: Outcome, *, dead: bool, now: datetime) -> None:
    """Note that an endpoint works again, or that it fails; switch it off when there is no hope. Its row is locked."""
    subscription.failing_since = None if outcome.arrived else subscription.failing_since or now
    subscription.dead_in_a_row = 0 if outcome.arrived else subscription.dead_in_a_row + dead
    subscription.save(update_fields=["failing_since", "dead_in_a_row"])
    reason = ""
    if outcome.status == GONE:
        reason = "The receiver answered 410 Gone."
    elif subscription.dead_in_a_row >= OFF_AFTER:
        reason = f"{subscription.dead_in_a_row} deliveries in a row were given up."
    if reason:
        webhooks.switch_off(
            subscription_id=subscription.subscription_id, by=SYSTEM, now=now, reason=reason
        )
