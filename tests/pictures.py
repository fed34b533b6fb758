"""Take the pictures of the README: `python -m tests.pictures`.

`python -m tests.pictures FOLDER` takes every page light, dark and as wide as a phone, to look at.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import sync_playwright

from tests.support.browser import CHROMIUM, INBOX, PASSWORD, Visitor, ask
from tests.support.documents import ROOT
from tests.support.live import LiveServer, live_server

IMAGES = ROOT / "docs" / "images"
DIFF = """--- a/checkout/retry.py
+++ b/checkout/retry.py
@@ -41,4 +41,4 @@ def charge(card):
     for attempt in range(LIMIT):
-        time.sleep(attempt)
+        time.sleep(min(attempt ** 2, 30))
         if gateway.charge(card):"""
TRACE = """Traceback (most recent call last):
  File "worker.py", line 12, in run
    publish(page)
ConnectionError: the search index did not answer"""
TASKS: list[dict[str, Any]] = [
    {
        "type": "deployment",
        "priority": "P0",
        "sla_target": 7200,
        "payload": {
            "service": "checkout",
            "version": "2.14.0",
            "environment": "production",
            "strategy": "rolling",
            "replicas": {"min": 3, "max": 12},
            "diff": DIFF,
        },
    },
    {
        "type": "deployment",
        "priority": "P0",
        "payload": {"service": "search", "version": "5.2.1", "environment": "production"},
    },
    {
        "type": "bugfix",
        "priority": "P1",
        "payload": {
            "issue": "1287",
            "title": "Payment fails for cards without CVV",
            "branch": "fix/1287",
            "note": "harmless \u202egnp.txt\u202c and zero\u200bwidth",
        },
    },
    {
        "type": "incident",
        "priority": "P1",
        "payload": {"alert": "p95 latency over 2 s", "service": "search", "region": "eu-west"},
    },
    {
        "type": "documentation",
        "priority": "P1",
        "payload": {"title": "All pages of the manual as one file", "text": "page " * 30_000},
    },
    {"type": "bugfix", "priority": "P2", "payload": {"title": "Typo in the footer"}},
    {"type": "bugfix", "priority": "P3", "payload": {"title": "Spinner never ends"}},
    {"type": "faq_update", "priority": "P2", "payload": {"question": "How do refunds work?"}},
    {"type": "documentation", "priority": "P3", "payload": {"title": "Runbook for search"}},
]
AGES = (45, 6, 21, 10, 3, 30, 52, 75, 61)  # minutes, of the tasks above
NAMES = ("ops-agent-1", "ops-agent-2", "", "monitor-1", "faq-agent-1", *["dev-agent-1"] * 4)
AGED = """
from datetime import timedelta
from django.db.models import F
from approvals_app.models import Approval
from tasks_app.models import Task
for task_id, minutes in {ages}.items():
    for model in (Task, Approval):
        created = F("created_at") - timedelta(minutes=minutes)
        model.objects.filter(task_id=task_id).update(created_at=created)
"""
PAGES = {
    "overview": "",
    "inbox": INBOX,
    "approval": f"{INBOX}{{diff}}/change/",
    "approval-hidden": f"{INBOX}{{hidden}}/change/",
    "approve": f"{INBOX}{{diff}}/approve/",
    "decided": f"{INBOX}?status=decided",
    "tasks": "tasks_app/task/",
    "task": "tasks_app/task/{failed}/change/",
    "events": "events_app/event/",
    "webhooks": "events_app/subscription/",
    "agents": "tasks_app/agent/",
    "rules": "tasks_app/routingrule/",
    "policy": "approvals_app/approvalpolicy/1/change/",
    "keys": "orchestrator_site/apikey/",
    "key": "orchestrator_site/apikey/add/",
    "principals": "orchestrator_site/principal/",
    "accounts": "auth/user/",
    "group": "auth/group/1/change/",
}
LOOKS = {"light": (1360, "light"), "dark": (1360, "dark"), "phone": (390, "light")}


def main(folder: Path | None) -> None:
    """Take the three pictures, or all into a folder."""
    with live_server() as server, sync_playwright() as tool:
        manage(server, "createsuperuser", "--noinput", "--username=dana", "--email=d@example.com")
        names = tell_a_day(server)
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        if folder is None:
            for name in ("inbox", "overview", "approval"):
                with visitor_of(browser, server, "light") as visitor:
                    visitor.go(PAGES[name].format(**names))
                    visitor.page.screenshot(path=IMAGES / f"console-{name}.png")
            return
        for look in LOOKS:
            with visitor_of(browser, server, look) as visitor:
                for name, path in PAGES.items():
                    visitor.go(path.format(**names))
                    visitor.page.screenshot(path=folder / f"{name}-{look}.png", full_page=True)


@contextlib.contextmanager
def visitor_of(browser: Any, server: LiveServer, look: str) -> Iterator[Visitor]:
    """Give a signed-in visitor whose window looks like this."""
    visitor = Visitor(browser, server, *LOOKS[look]).login()
    yield visitor
    visitor.context.close()


def tell_a_day(server: LiveServer) -> dict[str, str]:
    """Have some hours of work done; return the ids that pages are named by."""
    tasks = [hand_in(server, name, task) for name, task in zip(NAMES, TASKS, strict=True)]
    reports: dict[str, dict[str, Any]] = {
        "dev_agent": {"status": "failed", "error": TRACE},
        "faq_agent": {"status": "completed", "result": {"published": True}},
    }
    claimed = {}
    for agent, report in reports.items():
        [task] = ask(server, "POST", "/tasks/claim", agent=agent)["tasks"]
        claimed[agent] = task["task_id"]
        path = f"/tasks/{task['task_id']}/status"
        ask(server, "PATCH", path, attempt=task["attempt"], **report)
    manage(server, "shell", "-c", AGED.format(ages=dict(zip(tasks, AGES, strict=True))))
    waiting = ask(server, "GET", "/approvals/pending")["approvals"]
    approvals = {row["task_id"]: row["approval_id"] for row in waiting}
    ask(server, "POST", f"/approvals/{approvals[tasks[3]]}/approve", reason="Page me if it stays.")
    ask(server, "POST", "/events/publish", event_type="pr.merged", source_agent="dev_agent")
    return {
        "diff": approvals[tasks[0]],
        "hidden": approvals[tasks[2]],
        "failed": claimed["dev_agent"],
    }


def hand_in(server: LiveServer, name: str, task: dict[str, Any]) -> str:
    """Hand in a task under a name, or with a key if there is none; return its id."""
    token = {"Authorization": f"Bearer {server.token(name=name)}"}
    headers = token if name else {"X-API-Key": server.api_key}
    answer = requests.post(f"{server.url}/tasks", json=task, headers=headers, timeout=10)
    answer.raise_for_status()
    return str(answer.json()["task_id"])


def manage(server: LiveServer, *command: str) -> None:
    """Run a management command on the server's database."""
    environment = {**os.environ, **server.environment, "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    subprocess.run([sys.executable, "manage.py", *command], cwd=ROOT, env=environment, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
