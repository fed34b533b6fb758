"""Refusals: what the domain says no to. Imports nothing, knows no HTTP."""


class DomainError(Exception):
    """The request cannot be carried out in the present state."""

    def __init__(self, message: str = "", **state: object) -> None:
        """message: one sentence safe to show. state: facts the answer carries, such as `status`."""
        super().__init__(message or (self.__doc__ or "").strip())
        self.state = state


class Conflict(DomainError):
    """The present state forbids it."""


class Forbidden(DomainError):
    """The caller may not do this."""


class NotFound(DomainError):
    """There is no such thing."""


class Invalid(DomainError):
    """The request is not valid."""

    def __init__(self, message: str = "", *, field: str = "", **state: object) -> None:
        """field: the name of the input at fault, if it is one."""
        super().__init__(message, **state)
        self.field = field


class TooMany(DomainError):
    """There are too many of these already."""

    wait = 60  # seconds after which another try may succeed


class Gone(DomainError):
    """What was asked for is no longer kept."""
