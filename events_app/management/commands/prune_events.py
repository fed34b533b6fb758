from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError

from events_app.log import retention
from orchestrator_site.core import times
from orchestrator_site.management.base import ServiceCommand
from orchestrator_site.management.progress import Progress


class Command(ServiceCommand):
    help = (
        "Count the events older than some days, and with --delete delete them, but for what a "
        "consumer, a webhook or an open task still needs. A reader whose cursor is older is told "
        "so (410). It works in small steps that let the service go on, and may be stopped at any "
        "moment."
    )
    arguments = {
        "--older-than-days": {"type": float, "required": True, "help": "Such as 90."},
        "--delete": {
            "action": "store_true",
            "help": "Delete them; without it they are only counted.",
        },
    }

    def perform(self, **options: Any) -> dict[str, Any]:
        days = options["older_than_days"]
        if not 0 <= days <= 36_500:
            raise CommandError("--older-than-days must be between 0 and 36500.")
        kept, now = timedelta(days=days), times.now()
        prunable = retention.prunable(older_than=kept, now=now)
        if options["delete"]:
            progress = Progress(self.stderr.write, "event(s) deleted", of=prunable.events)
            with progress.stoppable():
                retention.prune(older_than=kept, now=now, between=progress)
        counts = {"events": prunable.events, "kept_though_old": prunable.needed}
        return {"deleted": options["delete"]} | counts

    def text(self, answer: dict[str, Any]) -> str:
        done = "deleted" if answer["deleted"] else "could be deleted (--delete does it)"
        return "{events} event(s) {done}; {kept_though_old} old one(s) are still needed".format(
            done=done, **answer
        )
