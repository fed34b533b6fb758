"""How the day is told."""

import json
import sys
from typing import Any

Json = dict[str, Any]


def say(text: str = "") -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def line(event: Json, tasks: dict[str, Json]) -> str:
    """Return what happened as one line, or nothing for what goes without saying.

    tasks: by id, as far as known.
    """
    said = sentence(event, tasks.get(event["task_id"], {}))
    return f"  {event['created_at'][11:19]}  {event['publisher']:<12} {said}" if said else ""


def sentence(event: Json, task: Json) -> str:
    """Return what happened in a few words."""
    what, payload = name_of(task), event["payload"]
    reason = payload.get("reason") or "no reason given"
    words = {
        "task.created": f"hands in {what} ({event['priority']}) for {payload.get('agent')}",
        "task.claimed": f"takes {what}, attempt {payload.get('attempt')}",
        "task.completed": f"has done {what}",
        "task.failed": f"fails {what}: {payload.get('error')}",
        "task.cancelled": f"cancels {what}: {payload.get('reason')}",
        "approval.requested": f"asks for sign-off of {what}",
        "approval.approved": f"approves {what} ({event['door']}): {reason}",
        "approval.rejected": f"rejects {what} ({event['door']}): {reason}",
        "sla.warning": f"warns that {what} is nearly late",
        "sla.violation": f"records that {what} missed its deadline",
    }
    if event["event_type"] in words:
        return words[event["event_type"]]
    return (
        f"says {event['event_type']} {json.dumps(payload, ensure_ascii=False)}"
        if event["origin"] == "agent"
        else ""
    )


def name_of(task: Json) -> str:
    """Return how a task is called in the story."""
    payload = task.get("payload", {})
    title = payload.get("title") or payload.get("question") or payload.get("version") or ""
    return f"the {task.get('type', 'task')}" + (f" “{title}”" if title else "")


def timeline(events: list[Json]) -> None:
    """Print the whole affair as the log has it."""
    for event in events:
        moved = f"{event['moved_from'] or 'new'} → {event['moved_to']}" if event["moved_to"] else ""
        moment = event["created_at"][11:23]
        who = f"{event['publisher']:<12} {event['door']:<8}"
        say(f"  {moment}  {event['event_type']:<21} {who} {moved}".rstrip())
