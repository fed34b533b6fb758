"""TypeIDs: a prefix and a UUIDv7 in Crockford base32, so ids sort by age."""

import secrets
import time
from datetime import datetime

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """Return a new id such as `task_01jd5f…`: prefix, underscore, 26 characters.

    Source: TypeID specification 0.3, RFC 9562 section 5.7.
    """
    return written(prefix, uuid7(time.time_ns() // 1_000_000, secrets.randbits(74)))


def first_id(prefix: str, moment: datetime) -> str:
    """Return the least id that can have been made at a moment or later."""
    return written(prefix, uuid7(int(moment.timestamp() * 1000), 0))


def written(prefix: str, number: int) -> str:
    """Return a number of 128 bits as an id."""
    return prefix + "_" + "".join(ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def uuid7(milliseconds: int, random: int) -> int:
    """Return a UUIDv7 as a number. milliseconds: Unix time, 48 bits. random: 74 bits."""
    high, low = random >> 62, random & ((1 << 62) - 1)
    return milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low
