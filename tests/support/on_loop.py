"""A request as the event loop's adapter answers it, where no event loop runs."""

import json
from collections.abc import Coroutine
from typing import Any

import pytest

from orchestrator_site.server.loop_adapter import LoopAdapter, action_of
from orchestrator_site.server.wsgi_adapter import Answer


def posted(path: str, content: Any, bearer: str, executor: Any, **scope: Any) -> Answer:
    """Return the answer to a POST of JSON.

    executor: carries out works. scope: what else the ASGI scope has.
    """
    body = json.dumps(content).encode()
    headers = {
        b"host": b"localhost",
        b"authorization": f"Bearer {bearer}".encode(),
        b"content-type": b"application/json",
        b"content-length": str(len(body)).encode(),
    }
    whole = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "client": ("127.0.0.1", 4000),
        "headers": list(headers.items()),
        **scope,
    }
    action = action_of(whole)
    assert action is not None
    return finished(LoopAdapter(executor).ask(action, whole, body))


def finished(answer: Coroutine[Any, Any, Answer]) -> Answer:
    """Return what a coroutine returns that waits for nothing."""
    with pytest.raises(StopIteration) as end:
        answer.send(None)
    returned: Answer = end.value.value
    return returned
