"""The sweep over requests nobody decided, by hand."""

from typing import Any

from approvals_app import services
from orchestrator_site.core import times
from orchestrator_site.management.base import ServiceCommand


class Command(ServiceCommand):
    help = (
        "End every pending request whose policy gave it a time that has run out; its task is cancelled. "
        "The service does it by itself; run it to do so at once."
    )

    def perform(self, **options: Any) -> dict[str, Any]:
        return {"expired": services.expire_approvals(now=times.now())}

    def text(self, answer: dict[str, Any]) -> str:
        return f"{answer['expired']} request(s) expired"
