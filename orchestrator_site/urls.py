"""The map: which door answers where."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from orchestrator_site.api import converters  # noqa: F401 - registers <public_id:…>
from orchestrator_site.console.login import login
from orchestrator_site.views import docs, errors, health, token_endpoint

urlpatterns = [
    path("", health.root),
    path("health", health.health),
    path("live", health.live),
    path("auth/token", token_endpoint.token),
    path("openapi.json", docs.openapi),
    path("docs", docs.docs, name="docs"),
    path("redoc", docs.redoc, name="redoc"),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/login/", login),
    path("admin/autocomplete/", errors.nothing_here),  # no form completes what is typed
    re_path(
        r"^admin/(?P<rest>.*[^/])\Z",
        RedirectView.as_view(url="/admin/%(rest)s/", query_string=True),
    ),
    path("admin/", admin.site.urls),
    path("", include("tasks_app.urls")),
    path("", include("approvals_app.urls")),
    path("", include("events_app.urls")),
]
handler400 = errors.bad_request
handler403 = errors.forbidden
handler404 = errors.not_found
handler500 = errors.server_error
