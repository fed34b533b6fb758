"""Many tasks at once."""

from datetime import datetime
from typing import Any

import pytest

from events_app.models import Event
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import DomainError, Invalid
from orchestrator_site.infra import group_commit
from tasks_app.errors import Cycle
from tasks_app.models import Task
from tasks_app.services.batches import Batch, create_batches
from tasks_app.services.intake import NewTask

BUGFIX = {"type": "bugfix", "payload": {}}


def create(
    news: list[dict[str, Any]], *, by: Actor, now: datetime, all_or_none: bool = True
) -> list[Any]:
    """Return the outcomes of a batch; raise why there are none."""
    [outcomes] = create_batches([Batch([NewTask(new, by, now) for new in news], all_or_none)])
    if isinstance(outcomes, DomainError):
        raise outcomes
    return outcomes


@pytest.mark.django_db
def test_a_batch_of_all_creates_none_when_one_cannot_be(dev, now) -> None:
    with pytest.raises(Invalid, match="Task 1 of the batch"):
        create([BUGFIX, {**BUGFIX, "type": "poetry"}], by=dev, now=now)

    assert not Task.objects.exists()


@pytest.mark.django_db
def test_a_batch_of_each_creates_what_can_be(dev, now) -> None:
    made, refused = create(
        [BUGFIX, {**BUGFIX, "type": "poetry"}], all_or_none=False, by=dev, now=now
    )

    assert isinstance(made, Task) and isinstance(refused, DomainError)
    assert Task.objects.count() == 1


@pytest.mark.django_db
def test_tasks_of_a_batch_may_wait_for_each_other_in_any_order(dev, now) -> None:
    last, first = create([{**BUGFIX, "depends_on": ["a"]}, {**BUGFIX, "ref": "a"}], by=dev, now=now)

    assert (last.open_dependencies, first.open_dependencies) == (1, 0)
    assert last.dependencies.get().depends_on == first


@pytest.mark.parametrize(
    "news",
    [
        [{**BUGFIX, "ref": "a", "depends_on": ["a"]}],
        [{**BUGFIX, "ref": "a", "depends_on": ["b"]}, {**BUGFIX, "ref": "b", "depends_on": ["a"]}],
    ],
    ids=["itself", "each other"],
)
@pytest.mark.django_db
def test_tasks_cannot_wait_in_a_circle(news, dev, now) -> None:
    with pytest.raises(Cycle):
        create(news, by=dev, now=now)

    assert not Task.objects.exists()


@pytest.mark.django_db
def test_of_batches_that_arrive_together_one_that_cannot_be_harms_no_other(dev, now) -> None:
    good, bad = NewTask(BUGFIX, dev, now), NewTask({**BUGFIX, "type": "poetry"}, dev, now)

    outcomes = create_batches(
        [Batch([good, bad], True), Batch([good, good], True), Batch([bad, good], False)]
    )

    assert isinstance(outcomes[0], Invalid)
    others = [each for each in outcomes if isinstance(each, list)]
    assert [[isinstance(one, Task) for one in each] for each in others] == [
        [True, True],
        [False, True],
    ]
    assert Task.objects.count() == 3
    assert Event.objects.filter(event_type="task.created").count() == 3


@pytest.mark.django_db
def test_what_was_refused_before_keeps_its_place_and_harms_no_other(dev, now) -> None:
    refused, good = Invalid("This is no task.", field="tasks.0"), NewTask(BUGFIX, dev, now)

    each, whole = create_batches([Batch([refused, good], False), Batch([refused, good], True)])

    assert isinstance(each, list) and each[0] is refused and isinstance(each[1], Task)
    assert isinstance(whole, Invalid) and "Task 0 of the batch: This is no task." in str(whole)
    assert Task.objects.count() == 1


@pytest.mark.django_db
def test_a_name_stands_for_one_task_of_a_batch(dev, now) -> None:
    with pytest.raises(Invalid, match="Each ref may be used once"):
        create([{**BUGFIX, "ref": "a"}, {**BUGFIX, "ref": "a"}], by=dev, now=now)

    assert not Task.objects.exists()


def test_a_batch_counts_for_as_many_as_it_has(dev, now) -> None:
    news = [NewTask(BUGFIX, dev, now)] * 3

    assert group_commit.weight_of(Batch(news, True)) == 3
