from typing import Any

from django.core.management.base import CommandError

from approvals_app.models import Approval
from approvals_app.serializers import ApprovalSerializer
from orchestrator_site.core import times
from orchestrator_site.management.base import ServiceCommand


class Command(ServiceCommand):
    help = (
        "List the requests that wait for a decision, most urgent first. "
        "`approve` and `reject` take their ids."
    )
    arguments = {
        "--limit": {"type": int, "default": 100, "help": "Most to list, 1 to 1000 (default: 100)."},
    }

    def perform(self, **options: Any) -> dict[str, Any]:
        if not 1 <= options["limit"] <= 1000:
            raise CommandError("--limit must be 1 to 1000.")
        found = list(Approval.objects.inbox(times.now())[: options["limit"]])
        return {"count": len(found), "approvals": ApprovalSerializer(found, many=True).data}

    def text(self, answer: dict[str, Any]) -> str:
        line = "{approval_id}  {priority}  {task_id}  asked by {requested_by}: {reason}"
        return (
            "\n".join(line.format(**row) for row in answer["approvals"])
            or "Nothing waits for a decision"
        )
