"""One kept-open connection to a server, and what is said of the times it took."""

import http.client
import json
import math
import time
from typing import Any
from urllib.parse import urlsplit

import jwt

TASK = {"type": "bugfix", "payload": {"issue": "123"}, "priority": "P2"}
EVENT = {"event_type": "bench.tick", "source_agent": "bench", "payload": {"n": 1}}


class Refused(SystemExit):
    """An answer other than 200. It ends the program with its sentence where nobody counts it."""

    def __init__(self, method: str, path: str, status: int, text: bytes) -> None:
        super().__init__(
            "The server limits its callers: start it with ORCHESTRATOR_RATE_LIMIT_SCALE=100000."
            if status == 429
            else f"{method} {path} was answered {status}: {text[:300]!r}"
        )


class Client:
    """One kept-open connection."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        """headers: sent with every request, such as the credential."""
        self.http = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
        self.headers = {"Content-Type": "application/json", **headers}

    def read(self, method: str, path: str, body: Any = None) -> bytes:
        """Send a request; return the text of the answer, which must be a 200."""
        self.http.request(method, path, None if body is None else json.dumps(body), self.headers)
        answer = self.http.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise Refused(method, path, answer.status, text)
        return text

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request; return what the JSON of the answer says."""
        return json.loads(self.read(method, path, body))


def bearer(secret: str, name: str = "bench", role: str = "agent") -> dict[str, str]:
    """Return the header with a token for the bench."""
    now = int(time.time())
    claims = {"sub": name, "role": role, "iat": now, "exp": now + 86_400}
    return {"Authorization": f"Bearer {jwt.encode(claims, secret, algorithm='HS256')}"}


def percentile(times: list[float], share: float) -> float:
    """Return the time that this share of all does not exceed, in milliseconds. times: seconds."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, math.ceil(len(ordered) * share) - 1)] * 1000


def spread(times: list[float]) -> str:
    """Return the middle and the 99th of a hundred, and of how many. times: seconds."""
    p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
    return f"p50 {p50:7.1f} ms   p99 {p99:7.1f} ms   N={len(times)}"
