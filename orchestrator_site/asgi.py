"""ASGI entry point: Django on a pool of plain threads, where database connections last."""

import os
from typing import Any

from a2wsgi import WSGIMiddleware
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")

THREADS = 16  # requests served at once by one process; each thread keeps one database connection

django = WSGIMiddleware(get_wsgi_application(), workers=THREADS)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Serve one connection; Django answers HTTP, and the server's start and end are acknowledged.

    Header names with an underscore are dropped: WSGI cannot tell `X_Api_Key` from `X-Api-Key`.
    """
    if scope["type"] == "http":
        scope = {**scope, "headers": [header for header in scope["headers"] if b"_" not in header[0]]}
    await django(scope, receive, send)
