"""From ASGI to those API actions that are coroutines: answered on the event loop, without a thread.

Django's middlewares do not run here. What they do for an answer of the API is done here: the host
is one of ours, and the headers are those that they would set.
"""

import asyncio
import functools
import inspect
from typing import Any

from django.conf import settings
from django.core.handlers.exception import response_for_exception
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse, JsonResponse
from django.http.request import split_domain_port, validate_host
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware
from django.urls import Resolver404, ResolverMatch, resolve
from rest_framework.response import Response

from orchestrator_site.api.exceptions import RETRY_AFTER, UNAVAILABLE
from orchestrator_site.api.middleware import PROBES, as_api, usage_of
from orchestrator_site.api.negotiation import RENDERER
from orchestrator_site.api.viewsets import CACHING
from orchestrator_site.infra.group_commit import Grouped
from orchestrator_site.server.wsgi_adapter import Answer, Headers, encoded, wsgi_environ


def action_of(scope: Any) -> ResolverMatch | None:
    """Return what answers a request on the loop, or None where Django does."""
    try:
        match = resolved(scope["path"])
    except Resolver404:
        return None
    actions = getattr(match.func, "actions", None) or {}
    name = actions.get("get" if scope["method"] == "HEAD" else scope["method"].lower(), "")
    if not name or not is_coroutine(match.func, name):
        return None
    return match if scope["path"] in PROBES or is_ours(scope["headers"]) else None


@functools.lru_cache(1024)
def resolved(path: str) -> ResolverMatch:
    """Return what answers at a path; raise Resolver404."""
    return resolve(path)


@functools.cache
def is_coroutine(view: Any, name: str) -> bool:
    """Return whether an action of a view is a coroutine."""
    return inspect.iscoroutinefunction(getattr(view.cls, name))


def is_ours(headers: list[tuple[bytes, bytes]]) -> bool:
    """Return whether the Host header names this service."""
    return any(name == b"host" and is_our_host(value) for name, value in headers)


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

    async def ask(self, action: ResolverMatch, scope: Any, body: bytes) -> Answer:
        """Return the answer to a request."""
        request: Any = WSGIRequest(wsgi_environ(scope, body))
        request.executor = self._executor
        try:
            response = await action.func(request, **action.kwargs)
        except asyncio.CancelledError:  # the server ends, and what holds this up does not
            headers = {"Retry-After": str(RETRY_AFTER)}
            response = JsonResponse({"detail": UNAVAILABLE}, status=503, headers=headers)
        except Exception as error:
            response = response_for_exception(request, error)
        if not isinstance(response, Response):
            response = as_api(request, response)
        return answer_of(request, response, common_headers(action.func))


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
