"""Bodies and signatures of webhooks, after Standard Webhooks. Pure."""

import base64
import binascii
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook

from events_app.errors import BadSecret
from events_app.models import Event
from events_app.rules import plain

PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)  # Standard Webhooks: "between 24 bytes (192 bits) and 64 bytes"


def checked_secret(text: str) -> str:
    """Return a caller's secret; raise BadSecret if it is short, long, or plainly not random."""
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise BadSecret from None
    if not text.startswith(PREFIX) or len(key) not in SECRET_BYTES or key.isascii():
        raise BadSecret
    return text


def signed(secrets: Iterable[str], *, message_id: str, at: datetime, body: str) -> dict[str, str]:
    """Return the headers that prove who sent a body, with one signature for each secret.

    Source: Standard Webhooks: HMAC-SHA256 of `id.timestamp.body`.
    """
    signatures = [Webhook(secret).sign(message_id, at.astimezone(UTC), body) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def body_of(event: Event) -> str:
    """Return the body of a webhook as Standard Webhooks writes it; `data` is the event."""
    data = plain(event)
    return as_json({"type": event.event_type, "timestamp": data["created_at"], "data": data})


def as_json(content: dict[str, Any]) -> str:
    """Return compact JSON."""
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False)
