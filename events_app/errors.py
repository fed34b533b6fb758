"""Why a request about events is refused."""

from orchestrator_site.core.errors import Conflict, Forbidden, Gone, Invalid, NotFound, TooMany


class CursorExpired(Gone):
    """Events after this cursor have been pruned; start again from the oldest one kept."""


class CursorAhead(Gone):
    """This cursor is of a log that was replaced by an older copy."""


class NotACloudEvent(Invalid):
    """This is not a CloudEvent 1.0."""


class ReservedEventType(Forbidden):
    """Only the server may publish events of this type."""


class ReservedSource(Forbidden):
    """Only the server may speak under this name."""


class UnknownConsumer(NotFound):
    """There is no consumer with this name."""


class NotYours(Forbidden):
    """This consumer belongs to someone else."""


class NameTaken(Conflict):
    """There is a consumer with this name and other settings."""


class BadUrl(Invalid):
    """The url must look like https://host/path, at most 2,048 printable ASCII characters."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message, field="url")


class UnknownSubscription(NotFound):
    """There is no subscription with this id."""


class UnknownEvent(NotFound):
    """There is no event with this id, or it is no longer kept."""


class TooManySubscriptions(TooMany):
    """There are as many subscriptions as there may be. Delete one first."""

    wait = 3600


class SwitchedOff(Conflict):
    """The subscription is switched off. Enable it first."""


class BadSecret(Invalid):
    """A secret is `whsec_` and the base64 of 24 to 64 random bytes."""

    def __init__(self) -> None:
        super().__init__(field="secret")


class TooManyStreams(TooMany):
    """Too many streams are open. Close one, or try again in 30 seconds."""

    wait = 30
