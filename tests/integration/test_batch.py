"""Many tasks at once."""

import pytest

from orchestrator_site.core.errors import DomainError, Invalid
from tasks_app.errors import Cycle
from tasks_app.models import Task
from tasks_app.services import batches

BUGFIX = {"type": "bugfix", "payload": {}}


@pytest.mark.django_db
def test_a_batch_of_all_creates_none_when_one_cannot_be(dev, now) -> None:
    with pytest.raises(Invalid, match="Task 1 of the batch"):
        batches.create_all([BUGFIX, {**BUGFIX, "type": "poetry"}], by=dev, now=now)

    assert not Task.objects.exists()


@pytest.mark.django_db
def test_a_batch_of_each_creates_what_can_be(dev, now) -> None:
    made, refused = batches.create_each([BUGFIX, {**BUGFIX, "type": "poetry"}], by=dev, now=now)

    assert isinstance(made, Task) and isinstance(refused, DomainError)
    assert Task.objects.count() == 1


@pytest.mark.django_db
def test_tasks_of_a_batch_may_wait_for_each_other_in_any_order(dev, now) -> None:
    last, first = batches.create_all(
        [{**BUGFIX, "depends_on": ["a"]}, {**BUGFIX, "ref": "a"}], by=dev, now=now
    )

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
        batches.create_all(news, by=dev, now=now)

    assert not Task.objects.exists()
