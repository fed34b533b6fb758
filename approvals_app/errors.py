"""Why a request about sign-off is refused."""

from orchestrator_site.core.errors import Conflict, Forbidden, NotFound


class UnknownApproval(NotFound):
    """There is no approval with this id."""

    def __init__(self, approval_id: str) -> None:
        """approval_id: of which there is none."""
        super().__init__(f"There is no approval {approval_id}.")


class AlreadyDecided(Conflict):
    """This request has been decided."""


class NotShown(Conflict):
    """What is stored is not what was shown to whoever decides."""


class NotGranted(Conflict):
    """The task waits for sign-off."""


class AskAnew(NotGranted):
    """There is no sign-off yet for what is demanded now; somebody has to be asked."""


class PolicyTightened(Conflict):
    """The policies ask for more than they did when this request was made."""


class MayNotDecide(Forbidden):
    """The caller may not decide this request."""


class TooManyPending(Conflict):
    """This principal has as many requests waiting as it may have."""


class UnknownPolicy(NotFound):
    """There is no policy with this name."""
