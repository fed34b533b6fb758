from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError

from orchestrator_site.core import times
from orchestrator_site.management.base import OPERATOR, ServiceCommand
from orchestrator_site.management.progress import Progress
from tasks_app.services import retention

MOST_DAYS = 36_500


class Command(ServiceCommand):
    help = (
        "Count the tasks that ended more than N days ago; with --delete, remove them with their "
        "approvals. Open tasks stay, and so does what an open task waits for or belongs to. Events "
        "are not touched: the log keeps what happened. Without --delete nothing is changed. It "
        "works in small steps that let the service go on, and may be stopped at any moment."
    )
    arguments = {
        "--older-than-days": {
            "type": int,
            "required": True,
            "metavar": "N",
            "help": "Days since a task ended.",
        },
        "--delete": {"action": "store_true", "help": "Remove them; they cannot be brought back."},
    }

    def perform(self, **options: Any) -> dict[str, Any]:
        days, now = options["older_than_days"], times.now()
        if not 1 <= days <= MOST_DAYS:
            raise CommandError(f"--older-than-days must be 1 to {MOST_DAYS}.")
        before = now - timedelta(days=days)
        number = retention.prunable(before).count()
        if options["delete"]:
            progress = Progress(self.stderr.write, "task(s) removed", of=number)
            with progress.stoppable():
                number = retention.prune_tasks(
                    before=before, by=OPERATOR, now=now, between=progress
                )
        return {"deleted": options["delete"], "number": number, "before": before}

    def text(self, answer: dict[str, Any]) -> str:
        if answer["deleted"]:
            return f"{answer['number']} task(s) removed"
        return f"{answer['number']} task(s) would be removed; add --delete to remove them"
