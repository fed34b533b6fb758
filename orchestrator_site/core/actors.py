"""Who acts: roles, doors, and the actor every service is told of."""

import dataclasses
import enum

from orchestrator_site.core.names import fold


class Role(enum.StrEnum):
    """What a principal may do; each role may do all that the lower ones may."""

    USER = "user"
    AGENT = "agent"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """Return the place on the ladder, 0 the lowest."""
        return RANKS[self]

    def covers(self, needed: "Role") -> bool:
        """Return whether this role may do what `needed` may."""
        return RANKS[self] >= RANKS[needed]


RANKS = {role: place for place, role in enumerate(Role)}


class Door(enum.StrEnum):
    """Where a change came in."""

    API = "api"
    CONSOLE = "console"
    COMMAND = "command"
    SYSTEM = "system"


class Assurance(enum.StrEnum):
    """How well a credential ties its bearer to one principal."""

    SHARED = "shared"  # signed with the shared secret: anyone who holds it can sign any name
    PERSONAL = "personal"  # a key of one principal
    HUMAN = "human"  # a console account


@dataclasses.dataclass(frozen=True, slots=True)
class Actor:
    """A principal at a door, known by a credential; `name` is what records show."""

    name: str
    role: Role
    door: Door
    assurance: Assurance
    # Which one, for the record: "jwt", "jwt:<key>", "key:<prefix>", "account:<username>".
    credential: str = ""
    expires_at: int | None = None  # Unix time at which the credential ends, if it does
    rate_limits: tuple[tuple[str, int], ...] = ()  # this key's own rates, by scope
    key: str = ""  # the id of the API key, or `account:<username>`, that it is or that minted it
    key_name: str = ""  # whose that is
    made_by: str = ""  # the console account that made the key, or had the token signed

    is_authenticated = True  # what DRF asks of request.user
    is_active = True

    @property
    def origin(self) -> str:
        """Return who speaks: `system`, `human` or `agent`."""
        if self.door == Door.SYSTEM:
            return "system"
        return "human" if self.assurance == Assurance.HUMAN else "agent"

    @property
    def persons(self) -> frozenset[str]:
        """Return everybody this counts as, folded: its name, its key's owner, the key's maker."""
        return frozenset(fold(name) for name in (self.name, self.key_name, self.made_by) if name)


SYSTEM = Actor("system", Role.ADMIN, Door.SYSTEM, Assurance.PERSONAL)
