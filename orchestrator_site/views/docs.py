"""The OpenAPI document and the pages that show it."""

import functools
import json
import threading

from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularRedocView, SpectacularSwaggerSplitView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

MAKING_SCHEMA = threading.Lock()


class OpenApiView(APIView):
    """The schema, made once per process."""

    authentication_classes: list[type] = []
    permission_classes = [AllowAny]
    schema = None

    def get(self, request: Request) -> HttpResponse:
        """Return the OpenAPI schema."""
        return HttpResponse(openapi_document(), content_type="application/json")


def openapi_document() -> bytes:
    """Return the OpenAPI schema as JSON. One thread makes it: the generator is not thread-safe."""
    with MAKING_SCHEMA:
        return made_document()


@functools.cache
def made_document() -> bytes:
    """Make the OpenAPI schema."""
    generator = SchemaGenerator(urlconf="orchestrator_site.urls")
    return json.dumps(generator.get_schema(request=None, public=True)).encode()


openapi = OpenApiView.as_view()
docs = SpectacularSwaggerSplitView.as_view(url="/openapi.json", authentication_classes=[])
redoc = SpectacularRedocView.as_view(url="/openapi.json", authentication_classes=[])
