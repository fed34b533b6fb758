"""The site app: identity, system checks, and what all apps share."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class SiteConfig(AppConfig):
    name = "orchestrator_site"
    verbose_name = "Access"

    def ready(self) -> None:
        from orchestrator_site.config import checks  # noqa: F401
        from orchestrator_site.infra.sqlite import statistics

        post_migrate.connect(statistics.install, sender=self)
