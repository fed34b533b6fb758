"""Events that agents publish together, all or none, as the service sees them."""

from datetime import datetime
from typing import cast

import pytest

from events_app import services
from events_app.models import Event
from events_app.services import Publication, PublicationBatch
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import DomainError, Invalid

pytestmark = pytest.mark.django_db


def said(by: Actor, now: datetime, event_type: str = "test.passed") -> Publication:
    return Publication(event_type, "dev_agent", by, now, {"task_id": "task_1"})


def together(items: list[Publication]) -> list[Event]:
    """Return the events of a batch of all or none; raise why there are none."""
    [outcomes] = services.publish_batches([PublicationBatch(items, all_or_none=True)])
    if isinstance(outcomes, DomainError):
        raise outcomes
    return cast(list[Event], outcomes)


def test_all_are_stored_in_their_order_with_their_places(dev: Actor, now: datetime) -> None:
    kinds = ["test.passed", "pr.merged", "test.passed"]

    events = together([said(dev, now, kind) for kind in kinds])

    stored = Event.objects.order_by("position")
    assert [event.event_type for event in stored] == kinds
    assert [event.event_id for event in stored] == [event.event_id for event in events]
    assert all(event.publisher == dev.name and event.source_verified for event in stored)


def test_none_is_stored_if_one_is_refused_and_the_refusal_says_which(
    dev: Actor, now: datetime
) -> None:
    items = [said(dev, now), said(dev, now, "approval.approved"), said(dev, now)]

    with pytest.raises(Invalid, match=r"^Event 1 of the batch: ") as refused:
        together(items)

    assert refused.value.field == "events.1" and not Event.objects.exists()


def test_each_that_can_be_is_stored_where_a_refusal_harms_no_other(
    dev: Actor, now: datetime
) -> None:
    items = [said(dev, now), said(dev, now, "approval.approved"), said(dev, now)]

    first, second, third = services.publish_all(items)

    assert isinstance(second, DomainError)
    assert [event.event_id for event in Event.objects.order_by("position")] == [
        one.event_id for one in (first, third) if isinstance(one, Event)
    ]
