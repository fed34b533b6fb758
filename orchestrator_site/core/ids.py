"""TypeIDs: a prefix and a UUIDv7 in Crockford base32, so ids sort by age."""

import functools
import os
import time
from datetime import datetime

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PAIRS = [high + low for high in ALPHABET for low in ALPHABET]  # ten bits each
LETTERS = bytes(ord(ALPHABET[octet & 31]) for octet in range(256))
# A random half begins with the version, 0111, and has the variant, 10, as bits 17 and 18.
VERSION = bytes(ord(ALPHABET[14 | octet & 1]) for octet in range(256))
VARIANT = bytes(ord(ALPHABET[octet & 19 | 8]) for octet in range(256))
LEAST = "e0080000" + 8 * "0"
STOCK = 100  # random halves: asking the system for one at a time lets the GIL go each time
_stock: list[str] = []
os.register_at_fork(after_in_child=_stock.clear)  # else both make the same ids


def new_id(prefix: str) -> str:
    """Return a new id such as `task_01jd5f…`: prefix, underscore, 26 characters.

    Source: TypeID specification 0.3, RFC 9562 section 5.7.
    """
    return f"{prefix}_{time_half(time.time_ns() // 1_000_000)}{random_half()}"


def first_id(prefix: str, moment: datetime) -> str:
    """Return the least id that can have been made at a moment or later."""
    return f"{prefix}_{time_half(int(moment.timestamp() * 1000))}{LEAST}"


@functools.lru_cache(2)
def time_half(milliseconds: int) -> str:
    """Return the first ten characters: Unix time, 48 bits."""
    return "".join([PAIRS[(milliseconds >> shift) & 1023] for shift in range(40, -1, -10)])


def random_half() -> str:
    """Return the other 16 characters, with 74 random bits, which nobody else is given."""
    try:
        return _stock.pop()
    except IndexError:
        octets = os.urandom(16 * STOCK)
        letters, first, fourth = (
            octets.translate(table).decode() for table in (LETTERS, VERSION, VARIANT)
        )
        _stock.extend(
            first[place]
            + letters[place + 1 : place + 3]
            + fourth[place + 3]
            + letters[place + 4 : place + 16]
            for place in range(0, len(octets), 16)
        )
        return random_half()
