"""TypeIDs: a prefix and a UUIDv7 in Crockford base32, so ids sort by age."""

import os
import time
from datetime import datetime

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PAIRS = [high + low for high in ALPHABET for low in ALPHABET]  # ten bits each
SHIFTS = range(120, -1, -10)
STOCK = 100  # random numbers: asking the system for one at a time lets the GIL go each time
_stock: list[int] = []
os.register_at_fork(after_in_child=_stock.clear)  # else both make the same ids


def new_id(prefix: str) -> str:
    """Return a new id such as `task_01jd5f…`: prefix, underscore, 26 characters.

    Source: TypeID specification 0.3, RFC 9562 section 5.7.
    """
    return written(prefix, time.time_ns() // 1_000_000, random_bits())


def first_id(prefix: str, moment: datetime) -> str:
    """Return the least id that can have been made at a moment or later."""
    return written(prefix, int(moment.timestamp() * 1000), 0)


def random_bits() -> int:
    """Return 74 random bits, which nobody else is given."""
    try:
        return _stock.pop()
    except IndexError:
        octets = os.urandom(10 * STOCK)
        found = [octets[place : place + 10] for place in range(0, len(octets), 10)]
        _stock.extend(int.from_bytes(number) >> 6 for number in found)
        return random_bits()


def written(prefix: str, milliseconds: int, random: int) -> str:
    """Return an id. milliseconds: Unix time, 48 bits. random: 74 bits."""
    high, low = random >> 62, random & ((1 << 62) - 1)
    number = milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low
    return f"{prefix}_{''.join([PAIRS[(number >> shift) & 1023] for shift in SHIFTS])}"
