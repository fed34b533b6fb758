"""Why a request about tasks is refused."""

from orchestrator_site.core.errors import Conflict, Forbidden, Invalid, NotFound


class UnknownTask(NotFound):
    """There is no task with this id."""

    def __init__(self, task_id: str) -> None:
        """task_id: of which there is none."""
        super().__init__(f"There is no task {task_id}.")


class UnknownParent(Invalid):
    """A parent is a task that exists."""


class UnknownType(Invalid):
    """No routing rule takes tasks of this type."""


class NotHolder(Conflict):
    """Another principal holds this task."""


class LeaseLost(Conflict):
    """The lease on this task has run out or was given to another attempt."""


class MayNotCancel(Forbidden):
    """Only its creator or an admin may cancel a task."""


class UnknownAgent(NotFound):
    """There is no agent with this name."""


class UnknownTaskType(NotFound):
    """There is no routing rule for this type."""


class NotWaiting(Conflict):
    """Only a task that waits can be given to another agent."""


class UnknownDependency(Invalid):
    """A task can only wait for tasks that exist."""


class TooManyDependents(Invalid):
    """A task has at most 1,000 dependents."""


class WaitsForOthers(Conflict):
    """The task waits for others to be completed."""


class Cycle(Invalid):
    """Tasks of a batch wait for each other in a circle."""


class InvalidTransition(Conflict):
    """The task cannot take this status now."""
