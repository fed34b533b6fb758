"""Answers for addresses without a view and for faults."""

from typing import Any

from django.core.exceptions import DisallowedHost
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

from orchestrator_site.api.middleware import SENTENCES, area_of


def refusal(request: HttpRequest, status: int, page: Any) -> HttpResponse:
    """Return a refusal as JSON, or as Django's page in the console."""
    if area_of(request) == "/admin":
        return page()
    return JsonResponse({"detail": SENTENCES[status]}, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django would not read."""
    if isinstance(exception, DisallowedHost) and area_of(request) != "/admin":
        return JsonResponse({"detail": "The Host header does not name this service."}, status=400)
    return refusal(request, 400, lambda: defaults.bad_request(request, exception))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that is not allowed."""
    return refusal(request, 403, lambda: defaults.permission_denied(request, exception))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer for an unknown address."""
    return refusal(request, 404, lambda: defaults.page_not_found(request, exception))


def nothing_here(request: HttpRequest) -> HttpResponse:
    """Answer at an address of the admin that this console does not offer."""
    raise Http404


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer after a fault, which Django has logged."""
    return refusal(request, 500, lambda: defaults.server_error(request))
