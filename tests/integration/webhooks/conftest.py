"""A receiver, a subscription to it, and something to tell."""

from collections.abc import Callable, Iterator
from datetime import datetime
from ipaddress import ip_network
from typing import Any

import pytest

from events_app import services
from events_app.models import Event, Subscription
from events_app.webhooks import services as webhooks
from orchestrator_site.core.actors import Actor
from tests.support.receivers import Receiver


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
        return webhooks.subscribe(
            **{"url": receiver.url, "types": ["pr.*"]} | new, by=admin, now=new.pop("now", now)
        )

    return make


@pytest.fixture
def publish(dev: Actor, now: datetime) -> Callable[..., Event]:
    """Publish an event: `publish("pr.merged")`."""

    def make(event_type: str = "pr.merged", at: datetime | None = None, **payload: Any) -> Event:
        return services.publish(
            event_type=event_type,
            source_agent="dev_agent",
            by=dev,
            now=at or now,
            payload=payload or None,
        )

    return make
