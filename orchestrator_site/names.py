"""What may be the name of a principal. Imports nothing."""

MAX_NAME = 128
RESERVED = frozenset({"system", "orchestrator", "console"})  # how the service speaks of itself in the records


def is_name(value: object) -> bool:
    """Return whether a value can name a principal: printable, not padded, 1 to 128 characters, not reserved."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME:
        return False
    return value.isprintable() and value == value.strip() and value.casefold() not in RESERVED
