"""The site app: identity, system checks, and what all apps share."""

from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "orchestrator_site"
    verbose_name = "Access"

    def ready(self) -> None:
        from orchestrator_site.config import checks  # noqa: F401
