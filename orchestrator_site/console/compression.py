"""Pages of the console go out compressed: a list of 50 rows is 400 KB, nearly all of it repeated."""

from django.http import HttpRequest, HttpResponseBase
from django.middleware.gzip import GZipMiddleware

from orchestrator_site.api.middleware import area_of


class ConsoleGZipMiddleware(GZipMiddleware):
    """Compresses the console only, and no page that shows a secret.

    A length tells nothing of the rest: Django adds random bytes to every answer and masks its tokens.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Return the answer, compressed where that is safe and wanted."""
        if area_of(request) != "/admin" or getattr(request, "shows_secret", False):
            return response
        return super().process_response(request, response)
