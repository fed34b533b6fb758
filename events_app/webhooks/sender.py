"""Send due deliveries, a few at a time per endpoint, until they arrive or are given up."""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings

from events_app.log.cloudevents import STRUCTURED, cloud_event
from events_app.models import Delivery, Event, Format, Subscription
from events_app.services import change
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
_sending, _requested = threading.Lock(), threading.Event()


class Sending(NamedTuple):
    """A delivery that this process has claimed, and the request to be made."""

    subscription: Subscription
    delivery: Delivery
    body: bytes
    headers: dict[str, str]


class Outcome(NamedTuple):
    """How one attempt went. status: 0 without an answer. ms: how long it took."""

    status: int = 0
    ms: int = 0
    error: str = ""
    retry_after: str = ""
    answer: str = ""

    @property
    def arrived(self) -> bool:
        """Return whether the receiver took it."""
        return 200 <= self.status < 300


def deliver(*, clock: Clock) -> int:
    """Make the deliveries that new events call for, send what is due; return how many were sent."""
    fan_out(now=clock())
    return send_due(clock=clock)


def send_due(*, clock: Clock) -> int:
    """Send what is due, one run at a time in each process; return how many requests were made.

    A call while a run goes on returns at once: the run looks again before it ends.
    """
    sent, until = 0, time.monotonic() + BUDGET
    _requested.set()
    while _requested.is_set() and time.monotonic() < until and _sending.acquire(blocking=False):
        try:
            _requested.clear()
            sent += Sender(clock, until).run()
        finally:
            _sending.release()
    return sent


class Sender:
    """One run: a few threads make requests; the calling thread alone uses the database."""

    def __init__(self, clock: Clock, until: float) -> None:
        """until: on the monotonic clock; then no further request is begun."""
        self.clock, self.until = clock, until
        self.in_flight: dict[Future[Outcome], Sending] = {}

    def run(self) -> int:
        """Send until nothing is due or the time is over; return how many requests were made."""
        sent, reach = 0, webhooks.reach()
        with ThreadPoolExecutor(THREADS, thread_name_prefix="webhooks") as pool:
            while True:
                for sending in self.take() if time.monotonic() < self.until else []:
                    self.in_flight[pool.submit(attempt, sending, reach)] = sending
                if not self.in_flight:
                    return sent
                for future in wait(self.in_flight, return_when=FIRST_COMPLETED).done:
                    record_outcome(self.in_flight.pop(future), future.result(), now=self.clock())
                    sent += 1

    def take(self) -> list[Sending]:
        """Claim as many due deliveries as there are threads for; failing endpoints come last."""
        now, taken = self.clock(), list[Sending]()
        if len(self.in_flight) == THREADS:
            return taken
        subscriptions = sorted(
            Subscription.objects.due(now),
            key=lambda one: (one.is_failing, random.random()),  # noqa: S311
        )
        for subscription in subscriptions:
            due = Delivery.objects.due(now).filter(subscription=subscription)
            rows = due.order_by("next_attempt_at", "pk")[: self.room_for(subscription, taken)]
            claimed = [row for row in rows if claim(row, now=now)]
            taken += prepare(subscription, claimed, now=now)
        return taken

    def room_for(self, subscription: Subscription, taken: list[Sending]) -> int:
        """Return how many more requests an endpoint may get: one that hangs must block no other."""
        busy = [sending.subscription for sending in (*self.in_flight.values(), *taken)]
        own, free = Counter(one.pk for one in busy)[subscription.pk], THREADS - len(busy)
        room = PER_ENDPOINT - own
        if subscription.is_failing:
            room = min(1 - own, FOR_FAILING - sum(one.is_failing for one in busy))
        return max(0, min(room, free))


def claim(delivery: Delivery, *, now: datetime) -> bool:
    """Lease a delivery for LEASE; return False if another process did."""
    due = Delivery.objects.due(now).filter(pk=delivery.pk, claim=delivery.claim)
    delivery.claim += 1
    return bool(due.update(claim=delivery.claim, next_attempt_at=now + LEASE))


def prepare(
    subscription: Subscription, deliveries: list[Delivery], *, now: datetime
) -> list[Sending]:
    """Return the requests to make; a delivery whose event was pruned is given up."""
    events = Event.objects.in_bulk([row.event_id for row in deliveries], field_name="event_id")
    sendings = []
    for row in deliveries:
        if event := events.get(row.event_id):
            sendings.append(request_for(subscription, row, event, now=now))
        else:
            log = log_with(row, Outcome(error=LOST), now=now)
            Delivery.objects.filter(pk=row.pk, claim=row.claim).update(
                status=Delivery.Status.DEAD, settled_at=now, log=log
            )
    return sendings


def request_for(
    subscription: Subscription, delivery: Delivery, event: Event, *, now: datetime
) -> Sending:
    """Return a signed request: the same id at every attempt, a new time, a signature a secret."""
    if subscription.format == Format.CLOUDEVENTS:
        content_type, body = STRUCTURED, signing.as_json(cloud_event(event))
    else:
        content_type, body = "application/json", signing.body_of(event)
    secrets = subscription.secrets(now)
    headers = {
        "Content-Type": content_type,
        "User-Agent": f"Orchestrator/{settings.VERSION}",
        **signing.signed(secrets, message_id=event.event_id, at=now, body=body),
    }
    return Sending(subscription, delivery, body.encode(), headers)


def attempt(sending: Sending, reach: url_policy.Reach) -> Outcome:
    """Make one request; return how it went. Runs in a thread and touches no database."""
    start, seconds = time.monotonic(), settings.WEBHOOK_TIMEOUT_SECONDS
    url, body, headers = sending.subscription.url, sending.body, sending.headers
    try:
        answer = http_client.post(url, body=body, headers=headers, reach=reach, seconds=seconds)
    except http_client.Failed as failure:
        outcome = Outcome(error=str(failure))
    except Exception:  # a fault of ours must not keep the others from being sent
        logger.exception("%s could not be sent to %s.", sending.delivery, sending.subscription)
        outcome = Outcome(error="An internal fault; it was logged.")
    else:
        error = "" if 200 <= answer.status < 300 else f"The receiver answered {answer.status}."
        error += " Redirects are not followed." if 300 <= answer.status < 400 else ""
        outcome = Outcome(answer.status, 0, error, answer.retry_after, answer.body)
    return outcome._replace(ms=int((time.monotonic() - start) * 1000))


def record_outcome(sending: Sending, outcome: Outcome, *, now: datetime) -> None:
    """Write down how an attempt went, unless another process has the delivery by now.

    What arrives at an endpoint that works is one statement; all else locks the endpoint's row.
    """
    delivery = sending.delivery
    row = Delivery.objects.pending().filter(pk=delivery.pk, claim=delivery.claim)
    changes: dict[str, Any] = {
        "status": Delivery.Status.DELIVERED,
        "attempts": delivery.attempts + 1,
        "next_attempt_at": now,
        "settled_at": now,
        "log": log_with(delivery, outcome, now=now),
    }
    working = Subscription.objects.filter(failing_since=None, dead_in_a_row=0)
    if outcome.arrived and row.filter(subscription__in=working).update(**changes):
        return
    with change():
        locked = Subscription.objects.select_for_update()
        subscription = locked.filter(pk=delivery.subscription_id).first()
        if subscription is None:
            return
        if not outcome.arrived:
            changes |= after_failure(delivery, subscription, outcome, now=now)
        if row.update(**changes):
            dead = changes["status"] == Delivery.Status.DEAD
            record_health(subscription, outcome, dead=dead, now=now)


def after_failure(
    delivery: Delivery, subscription: Subscription, outcome: Outcome, *, now: datetime
) -> dict[str, Any]:
    """Return the status of a failed delivery, and when it is tried again if it is not given up."""
    since = subscription.failing_since
    if outcome.status == GONE or (since and now - since >= HOPELESS):
        return {"status": Delivery.Status.DEAD}
    again = retry.next_attempt_at(
        attempts=delivery.attempts + 1,
        now=now,
        waits=settings.WEBHOOK_RETRY_SECONDS,
        jitter=random.uniform(-1, 1),  # noqa: S311 - spreads load, hides nothing
        retry_after=retry.retry_after(outcome.retry_after, now=now),
    )
    if again is None:
        return {"status": Delivery.Status.DEAD}
    return {"status": Delivery.Status.PENDING, "next_attempt_at": again, "settled_at": None}


def log_with(delivery: Delivery, outcome: Outcome, *, now: datetime) -> list[dict[str, object]]:
    """Return the log of a delivery with one more attempt."""
    entry = {
        "at": now.isoformat(),
        "status": outcome.status or None,
        "ms": outcome.ms,
        "error": outcome.error[:500],
        "answer": outcome.answer,
    }
    return [*delivery.log, entry][-Delivery.KEPT_ATTEMPTS :]


def record_health(
    subscription: Subscription, outcome: Outcome, *, dead: bool, now: datetime
) -> None:
    """Note that an endpoint, whose row is locked, works or fails; switch off one without hope."""
    subscription.failing_since = None if outcome.arrived else subscription.failing_since or now
    subscription.dead_in_a_row = 0 if outcome.arrived else subscription.dead_in_a_row + dead
    subscription.save(update_fields=["failing_since", "dead_in_a_row"])
    reason = ""
    if outcome.status == GONE:
        reason = "The receiver answered 410 Gone."
    elif subscription.dead_in_a_row >= OFF_AFTER:
        reason = f"{subscription.dead_in_a_row} deliveries in a row were given up."
    if reason:
        public_id = subscription.subscription_id
        webhooks.switch_off(subscription_id=public_id, by=SYSTEM, now=now, reason=reason)
