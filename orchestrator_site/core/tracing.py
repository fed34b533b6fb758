"""W3C trace context: https://www.w3.org/TR/trace-context/."""

import re

TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?\Z")


def trace_id_of(traceparent: str) -> str:
    """Return the trace id in a `traceparent` header, or an empty string."""
    match = TRACEPARENT.match(traceparent)
    return match[1] if match else ""
