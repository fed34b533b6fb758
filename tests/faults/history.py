"""The judge: what the log says of a task must be a story that can have happened."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from tests.faults.service import SWEEP, Service

ENDS = {"task.requeued", "task.completed", "task.failed", "task.released", "task.cancelled"}


def broken_stories(
    service: Service, task_ids: Iterable[str], *, by: str = "completed"
) -> list[str]:
    """Return what is wrong with the stories of tasks that should all have ended as `by` says."""
    admin = service.caller("judge", "admin")
    broken = []
    for task_id in task_ids:
        timeline = admin.get(f"/tasks/{task_id}/timeline")["timeline"]
        status = admin.get(f"/tasks/{task_id}")["task"]["status"]
        broken += [f"{task_id} {flaw}" for flaw in flaws(timeline)]
        if status != by:
            broken.append(f"{task_id} is {status}, not {by}")
    return broken


def flaws(timeline: list[dict[str, Any]]) -> list[str]:
    """Return what cannot be: two leases at once, a token that does not grow, life after the end."""
    found, held, token, ended = [], False, 0, False
    for event in timeline:
        kind = event["event_type"]
        if ended and kind.startswith("task."):
            found.append(f"went on with {kind} after its end")
        if kind == "task.claimed":
            if held:
                found.append("was leased while it was held")
            if event["payload"]["attempt"] <= token:
                found.append("got a token that was given before")
            held, token = True, event["payload"]["attempt"]
        if kind in ENDS:
            held = False
        ended = ended or kind in ("task.completed", "task.cancelled")
    return found


def late_returns(service: Service, task_ids: Iterable[str]) -> tuple[list[str], float]:
    """Return the tasks that came back later than two sweeps after their lease, and the longest wait
    in seconds.
    """
    admin, late, longest = service.caller("judge", "admin"), [], 0.0
    for task_id in task_ids:
        for event in admin.get(f"/tasks/{task_id}/timeline")["timeline"]:
            if event["event_type"] == "task.requeued" and event["payload"].get("lease_expired_at"):
                wait = seconds(event["payload"]["lease_expired_at"], event["created_at"])
                longest = max(longest, wait)
                if wait > 2 * SWEEP + 1:  # a second for a machine that does everything at once
                    late.append(f"{task_id} came back {wait:.1f} s after its lease")
    return late, longest


def seconds(start: str, end: str) -> float:
    """Return the time between two times of the API."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
