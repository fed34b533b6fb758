"""The outermost layer: rate headers on all answers, refusals in JSON, what pages may load."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect, JsonResponse
from django.middleware.common import CommonMiddleware
from django.middleware.gzip import GZipMiddleware

from orchestrator_site.api import throttling
from orchestrator_site.api.exceptions import DATABASE_GONE, RETRY_AFTER, logged, note_outage
from orchestrator_site.infra.connection_watchdog import watchdog

# In the ASGI scope of a request that is to be refused, where no client can put it.
REFUSAL = "orchestrator.refusal"
SENTENCES = {
    400: "The request is not valid.",
    403: "You may not do this.",
    404: "Not found.",
    405: "This method is not allowed here.",
    414: "The address is too long.",
    500: "The service failed. The fault has been logged.",
}
PROBES = ("/health", "/live")  # they show nothing of anybody
OWN = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; "
)
NO_FRAME = "frame-ancestors 'none'"
STYLES = "style-src 'self' 'unsafe-inline'; "  # both set style attributes
POLICIES = {  # of the console: Alpine evaluates attributes
    "/admin": OWN + STYLES + "script-src 'self' 'unsafe-eval'; " + NO_FRAME,
    "/docs": OWN + STYLES + NO_FRAME,
    "/redoc": OWN + STYLES + "worker-src 'self' blob:; " + NO_FRAME,
}


class HostMiddleware(CommonMiddleware):
    """Django's, which refuses foreign host names, but for probes: they come by address."""

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        return None if request.path_info in PROBES else super().process_request(request)


class ApiMiddleware:
    """Makes every answer outside the console and the static files one of the API.

    Pages of the console are compressed, for a list of 50 rows is 400 KB of repetition. A length
    tells nothing: Django adds random bytes and masks its tokens; a page with a secret is left out.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = watchdog.guard(get_response)
        self.compress = GZipMiddleware(get_response).process_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if refusal := request.META.get("asgi.scope", {}).get(REFUSAL):
            detail = {"detail": str(refusal)}
            answer = JsonResponse(detail, status=refusal.status, headers=refusal.headers)
            return as_api(request, answer)
        response = self.get_response(request)
        area = area_of(request)
        if area == "/admin" and not getattr(request, "shows_secret", False):
            response = self.compress(request, response)
        if area in POLICIES:
            response.headers.setdefault("Content-Security-Policy", POLICIES[area])
        return response if area in ("/admin", "/static") else as_api(request, response)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Return a 503 when the database is away, in the console as text; the rest is Django's."""
        if not isinstance(error, DATABASE_GONE):
            return None
        sentence, headers = note_outage(error), {"Retry-After": str(RETRY_AFTER)}
        if area_of(request) == "/admin":
            page = HttpResponse(sentence, status=503, content_type="text/plain", headers=headers)
            return logged(page)
        return logged(JsonResponse({"detail": sentence}, status=503, headers=headers))


def area_of(request: HttpRequest) -> str:
    """Return the first part of the path, such as `/admin`."""
    return "/" + request.path_info.removeprefix("/").partition("/")[0]


def as_api(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Return the answer in JSON if it is a refusal, with the rate headers."""
    counted, usage = hasattr(request, "rate_usage"), usage_of(request)
    if usage.refused and not counted:
        response = JsonResponse({"detail": usage.sentence}, status=429)
    if response.status_code >= 400 and response.headers.get("Content-Type") != "application/json":
        response = as_json(response)
    for name, value in usage.headers.items():
        response.headers[name] = value
    return response


def usage_of(request: HttpRequest) -> throttling.Usage:
    """Return where the caller of a request stands.

    What is answered outside the viewsets, such as an unknown address, is counted here.
    """
    usage: throttling.Usage | None = getattr(request, "rate_usage", None)
    if usage is None:
        address = throttling.client_address(request.META)
        usage = throttling.count("other", actor=None, address=address)
    return usage


def as_json(response: HttpResponse) -> HttpResponse:
    """Return Django's own refusal as JSON, its other headers kept."""
    detail = SENTENCES.get(response.status_code, "The request cannot be carried out.")
    answer = JsonResponse({"detail": detail}, status=response.status_code)
    for name in ("Allow", "Retry-After", "WWW-Authenticate"):
        if name in response.headers:
            answer.headers[name] = response.headers[name]
    return logged(answer) if getattr(response, "_has_been_logged", False) else answer
