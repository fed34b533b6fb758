"""From ASGI to those API actions that are coroutines: answered on the event loop, without a thread.

Django's middlewares do not run here. What they do for an answer of the API is done here: the host
is one of ours, and the headers are those that they would set.
"""

import asyncio
import functools
import inspect
import re
from typing import Any, NamedTuple

from django.conf import settings
from django.core.handlers.exception import response_for_exception
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse, JsonResponse
from django.http.request import split_domain_port, validate_host
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware
from django.urls import Resolver404, resolve
from rest_framework.response import Response

from orchestrator_site.api.exceptions import RETRY_AFTER, UNAVAILABLE
from orchestrator_site.api.middleware import PROBES, as_api, usage_of
from orchestrator_site.api.negotiation import RENDERER
from orchestrator_site.api.viewsets import CACHING
from orchestrator_site.infra.group_commit import Grouped
from orchestrator_site.server.wsgi_adapter import Answer, Headers, encoded, wsgi_environ


class Action(NamedTuple):
    """A view whose method is a coroutine, and what its path names."""

    view: Any
    kwargs: dict[str, Any]


def action_of(scope: Any) -> Action | None:
    """Return what answers a request on the loop, or None where Django does."""
    path = scope["path"]
    if len(path) > LONGEST_PATH:
        return None
    if (found := PUBLIC_ID.search(path)) is not None:
        route = route_of(f"{path[: found.start()]}{ANY_ID}{path[found.end() :]}", scope["method"])
    else:
        route = route_of(path, scope["method"])
    if route is None or not (path in PROBES or is_ours(scope["headers"])):
        return None
    if found is None or not route.kwargs:
        return route
    named = {name: found[0] if at == ANY_ID else at for name, at in route.kwargs.items()}
    return Action(route.view, named)


@functools.lru_cache(1024)
def route_of(path: str, method: str) -> Action | None:
    """Return the coroutine that answers a method at a path, if one does."""
    try:
        match = resolve(path)
    except Resolver404:
        return None
    actions = getattr(match.func, "actions", None) or {}
    name = actions.get("get" if method == "HEAD" else method.lower(), "")
    if not name or not inspect.iscoroutinefunction(getattr(match.func.cls, name)):  # type: ignore[attr-defined]
        return None
    return Action(match.func, match.kwargs)


def is_ours(headers: list[tuple[bytes, bytes]]) -> bool:
    """Return whether the Host header names this service."""
    for name, value in headers:
        if name == b"host":
            return is_our_host(value)
    return False


@functools.lru_cache(256)
def is_our_host(host: bytes) -> bool:
    """Return what Django finds of a host name."""
    domain, _ = split_domain_port(host.decode("latin1"))
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)


@functools.cache
def common_headers(view: Any) -> Headers:
    """Return the headers that every answer of a view has."""
    request, response = WSGIRequest(wsgi_environ(PLAIN, b"")), HttpResponse()
    SecurityMiddleware(lambda _: response).process_response(request, response)
    XFrameOptionsMiddleware(lambda _: response).process_response(request, response)
    del response.headers["Content-Type"]
    answered = {*view.actions, *(["head"] if "get" in view.actions else [])}
    allowed = [name.upper() for name in view.cls.http_method_names if name in answered]
    return encoded([*response.headers.items(), ("Allow", ", ".join(allowed))])


# An id has a digit, no other part of a path has: all ids of a place are one to Django's resolver.
PUBLIC_ID = re.compile(r"(?<=/)(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{1,64}(?=/|\Z)")
ANY_ID = "0"
LONGEST_PATH = 256  # of an action, by far; paths are remembered
PLAIN = {
    "method": "GET",
    "path": "/",
    "query_string": b"",
    "http_version": "1.1",
    "headers": [],
}


class LoopAdapter:
    """Answers coroutine actions."""

    def __init__(self, executor: Grouped) -> None:
        self._executor = executor

    async def ask(self, action: Action, scope: Any, body: bytes) -> Answer:
        """Return the answer to a request."""
        request: Any = WSGIRequest(wsgi_environ(scope, body))
        request.executor = self._executor
        try:
            response = await action.view(request, **action.kwargs)
        except asyncio.CancelledError:  # the server ends, and what holds this up does not
            headers = {"Retry-After": str(RETRY_AFTER)}
            response = JsonResponse({"detail": UNAVAILABLE}, status=503, headers=headers)
        except Exception as error:
            response = response_for_exception(request, error)
        if not isinstance(response, Response):
            response = as_api(request, response)
        return answer_of(request, response, common_headers(action.view))


def answer_of(request: Any, response: HttpResponse, common: Headers) -> Answer:
    """Return a response as it is sent. common: headers that need not be looked up again."""
    own = {"Cache-Control": CACHING, **dict(response.headers.items())}
    if isinstance(response, Response):
        body = RENDERER.render(response.data)
        own["Content-Type"] = response.content_type or RENDERER.media_type
        own.update(usage_of(request).headers)
    else:
        body = response.content
    if not body:
        own.pop("Content-Type", None)
    own["Content-Length"] = str(len(body))
    return Answer(response.status_code, encoded(own.items()) + common, body)
