"""The tasks app."""

from django.apps import AppConfig


class TasksConfig(AppConfig):
    """Names the app."""

    name = "tasks_app"
    verbose_name = "Tasks"

    def ready(self) -> None:
        """Load the reactions to news from below."""
        from tasks_app import handlers  # noqa: F401
