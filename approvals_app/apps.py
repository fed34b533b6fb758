"""The approvals app."""

from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    """Names the app."""

    name = "approvals_app"
    verbose_name = "Approvals"
