"""Hooks of sign-off: the apps above register functions here, which this app calls."""

from collections.abc import Callable, Iterable
from typing import NamedTuple


class Party(NamedTuple):
    """Who has a part in a task: a name, and the credential that it was used with."""

    name: str
    credential: str = ""


Parties = Callable[[list[str]], dict[str, set[Party]]]
Renewal = Callable[..., None]
TaskTypes = Callable[[], Iterable[str]]

parties: list[Parties] = []
renewals: list[Renewal] = []
task_types: list[TaskTypes] = []


def decision_parties(names_of: Parties) -> Parties:
    """Bar from deciding those whom `names_of(task_ids)` returns for each task id."""
    parties.append(names_of)
    return names_of


def renews_request(renew: Renewal) -> Renewal:
    """Call `renew(task_id=, approval_id=, now=)` when policies ask for more than a request did."""
    renewals.append(renew)
    return renew


def names_task_types(types: TaskTypes) -> TaskTypes:
    """Let a policy name the task types that `types()` returns, and no others."""
    task_types.append(types)
    return types
