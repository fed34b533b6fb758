"""The map: which door answers where."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from orchestrator_site import views
from orchestrator_site.api import converters  # noqa: F401 - registers <public_id:…>
from orchestrator_site.console.login import login

urlpatterns = [
    path("", views.root),
    path("health", views.health),
    path("live", views.live),
    path("auth/token", views.token),
    path("openapi.json", views.openapi),
    path("docs", views.docs, name="docs"),
    path("redoc", views.redoc, name="redoc"),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/login/", login),
    path("admin/autocomplete/", views.nothing_here),  # no form completes what is typed
    re_path(r"^admin/(?P<rest>.*[^/])\Z", RedirectView.as_view(url="/admin/%(rest)s/", query_string=True)),
    path("admin/", admin.site.urls),
    path("", include("tasks_app.urls")),
    path("", include("approvals_app.urls")),
    path("", include("events_app.urls")),
]
handler400 = views.bad_request
handler403 = views.forbidden
handler404 = views.not_found
handler500 = views.server_error
