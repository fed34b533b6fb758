"""Why a request about tasks is refused."""

from orchestrator_site.core.errors import Conflict, Forbidden, Invalid, NotFound


class UnknownTask(NotFound):
    """There is no task with this id."""


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
