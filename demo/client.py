"""The API as a program sees it, with nothing but the standard library."""

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt

Json = dict[str, Any]
SOON = 1  # seconds until the next try where the server did not say
TRIES = 5
BROKEN = (ConnectionError, TimeoutError, http.client.HTTPException, urllib.error.URLError)


class Refused(Exception):
    """The server said no. code: the HTTP status."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


class Client:
    """One caller. Waits when it is told to, and repeats what got no answer."""

    def __init__(self, url: str, credential: dict[str, str]) -> None:
        """credential: the header to send, or nothing."""
        self.url = url.rstrip("/")
        self.credential = credential

    def get(self, path: str, **query: Any) -> Json:
        """GET."""
        return self.call("GET", f"{path}?{urlencode(query)}" if query else path)

    def post(self, path: str, body: Json, **headers: str) -> Json:
        """POST."""
        return self.call("POST", path, body, headers)

    def patch(self, path: str, body: Json) -> Json:
        """PATCH."""
        return self.call("PATCH", path, body)

    def call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        headers: dict[str, str] | None = None,
    ) -> Json:
        """Return the answer; raise Refused, or an OSError when there is no server."""
        for last in (*[False] * (TRIES - 1), True):
            try:
                with self.open(self.request(method, path, body, headers), seconds=90) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if last or error.code not in (429, 503):
                    raise Refused(error.code, detail_of(error)) from None
                time.sleep(int(error.headers.get("Retry-After", SOON)))
            except BROKEN:
                if last:
                    raise
                time.sleep(SOON)
        raise AssertionError("unreachable")

    def request(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        headers: dict[str, str] | None = None,
    ) -> urllib.request.Request:
        """Return a request with the credential."""
        sent = {**self.credential, **(headers or {}), "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        return urllib.request.Request(self.url + path, data, sent, method=method)  # noqa: S310 - the user named it

    def open(self, request: urllib.request.Request, *, seconds: float) -> Any:
        """Return the answer, which ends when nothing came for so long."""
        return urllib.request.urlopen(request, timeout=seconds)  # noqa: S310

    def events(self, after: str, **filters: str) -> Iterator[Json | None]:
        """Yield events after a cursor as they happen, for ever; None now and then while nothing
        happens.

        A broken stream is taken up again where it broke, so nothing is missed.
        """
        while True:
            path = f"/events/stream?{urlencode({'after': after, **filters})}"
            try:
                with self.open(self.request("GET", path), seconds=60) as stream:
                    for line in stream:
                        if line.startswith(b"data:"):
                            event = json.loads(line.removeprefix(b"data:"))
                            if "cursor" not in event:  # the server says why it ends the stream
                                raise Refused(event["code"], event["detail"])
                            after = event["cursor"]
                            yield event
                        elif line.startswith(b":"):
                            yield None
            except urllib.error.HTTPError as error:
                if error.code not in (429, 503):
                    raise Refused(error.code, detail_of(error)) from None
                time.sleep(int(error.headers.get("Retry-After", SOON)))
            except BROKEN:
                time.sleep(SOON)
                yield None


def detail_of(error: urllib.error.HTTPError) -> str:
    """Return the sentence of a refusal."""
    try:
        return json.load(error)["detail"]
    except (ValueError, KeyError):
        return error.reason


def bearer(token: str) -> dict[str, str]:
    """Return the header of a token."""
    return {"Authorization": f"Bearer {token}"}


def credential_for(name: str, url: str, given: dict[str, str]) -> dict[str, str]:
    """Return the credential of one of the cast.

    Signed with the secret where it is known; else asked for, with the credential given, or with
    none on a development server. A given one that may not ask for others speaks for everybody.
    """
    if secret := known_secret():
        now = int(time.time())
        claims = {"sub": name, "role": "agent", "iat": now, "exp": now + 86_400}
        return bearer(jwt.encode(claims, secret, algorithm="HS256"))
    try:
        return bearer(
            Client(url, given).post("/auth/token", {"user_id": name, "role": "agent"})["token"]
        )
    except Refused as refusal:
        if given and refusal.code == 403:
            return given
        raise


def known_secret() -> str:
    """Return the shared secret from the environment, or nothing."""
    if path := os.environ.get("ORCHESTRATOR_JWT_SECRET_FILE"):
        return Path(path).read_text(encoding="utf-8").strip()
    return os.environ.get("ORCHESTRATOR_JWT_SECRET", "")
