"""Secrets that are shown once, on the page that follows the form which made them."""

import secrets

from django.conf import settings
from django.http import HttpRequest, HttpResponse

COOKIE = "shown_once"
SECONDS = 300  # the page that shows the secret is asked for at once


def keep(request: HttpRequest, response: HttpResponse, text: str, *, of: str) -> HttpResponse:
    """Have the next page of this browser show a secret. of: whose, such as `subscription sub_1`.

    Half of it is kept in the session, half in a cookie: neither alone holds it.
    """
    plain = text.encode()
    pad = secrets.token_bytes(len(plain))
    request.session[COOKIE] = {"of": of, "half": xored(plain, pad).hex()}
    response.set_cookie(
        COOKIE,
        pad.hex(),
        max_age=SECONDS,
        path="/admin/",
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Strict",
    )
    return response


def take(request: HttpRequest, *, of: str) -> str | None:
    """Return the secret kept for this page, and forget it; None when there is none."""
    if request.session.get(COOKIE, {}).get("of") != of:
        return None
    request.shows_secret = True  # type: ignore[attr-defined] # such a page is not compressed
    half = bytes.fromhex(request.session.pop(COOKIE)["half"])
    try:
        pad = bytes.fromhex(request.COOKIES.get(COOKIE, ""))
    except ValueError:
        return None
    return xored(half, pad).decode(errors="replace") if len(pad) == len(half) else None


def xored(left: bytes, right: bytes) -> bytes:
    """Return two strings of bytes of one length combined bit by bit."""
    return bytes(one ^ other for one, other in zip(left, right, strict=True))
