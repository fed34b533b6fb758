"""Passwords of accounts: wrong ones are counted, and checking them leaves threads free."""

import logging
import threading
from typing import Any

from django.contrib.auth import authenticate
from django.http import HttpRequest
from rest_framework.exceptions import APIException

from orchestrator_site.api import throttling
from orchestrator_site.core.names import fold

SCOPE = "login"
ADDRESS_FACTOR = 3  # an address stands for several people, so it may be wrong more often
HASHING_AT_ONCE = 2  # of the web threads; a password takes some 0.2 s of a processor

hashing = threading.BoundedSemaphore(HASHING_AT_ONCE)
log = logging.getLogger(__name__)


class TooManyLogins(APIException):
    """As many passwords are being checked as may be at once."""

    status_code = 503
    default_detail = "Too many people are signing in. Try again in a second."
    wait = 1


def check_password(request: HttpRequest, *, username: str, password: str) -> Any:
    """Return the active account with this password, or None.

    Raise RateLimited after too many wrong ones, TooManyLogins when others are being checked.
    """
    buckets = buckets_of(username, throttling.client_address(request.META))
    for bucket in buckets:
        if (usage := bucket.read()).used_up:
            raise throttling.RateLimited(usage)
    if not hashing.acquire(blocking=False):  # waiting here would take the threads all the same
        raise TooManyLogins
    try:
        account = authenticate(request, username=username, password=password)
    finally:
        hashing.release()
    if account is not None:
        return account
    for bucket in buckets:
        usage = bucket.count()
        if usage.count == usage.limit:
            log.warning("%d wrong passwords in a minute (%s).", usage.count, bucket.who)
    return None


def buckets_of(username: str, address: str) -> list[throttling.Bucket]:
    """Return where a wrong password counts: for the account from this address, and for the address.

    Not for the account from everywhere: then anybody could keep its owner out.
    """
    limit, client = throttling.rate(SCOPE, None), throttling.block(address)
    return [
        throttling.Bucket(SCOPE, f"account:{client}|{fold(username)}", limit),
        throttling.Bucket(SCOPE, f"address:{client}|", ADDRESS_FACTOR * limit),
    ]
