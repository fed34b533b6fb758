"""`python -m demo`: starts the three agents, lets the day begin, and tells what happens until it is
over.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

from demo.agents import AGENTS
from demo.client import Client, Json, Refused, bearer, credential_for
from demo.story import line, say, timeline

DONE = {
    "incident",
    "bugfix",
    "deployment",
    "faq_update",
    "documentation",
}  # what has to be completed
PATIENCE = 180  # seconds the day may take when nobody has to be waited for


class WentWrong(Exception):
    """The day did not go as told."""


class Day:
    """One run: the affair, who plays in it, and what has happened so far."""

    def __init__(self, url: str, given: dict[str, str], *, approve: bool, pace: float) -> None:
        """given: a credential header, or nothing.

        approve: decide by API. pace: seconds a step takes.
        """
        self.url = url
        self.pace = pace
        self.approve = approve
        self.trace_id = f"demo-{uuid.uuid4().hex[:12]}"
        self.given = given
        self.pager = Client(url, credential_for("pager-1", url, given))
        self.alice = Client(url, credential_for("alice", url, given)) if approve else None
        self.after = self.pager.get("/events", after="now")["next"]
        self.tasks: dict[str, Json] = {}
        self.done: set[str] = set()
        self.missed = False

    @contextlib.contextmanager
    def agents(self) -> Iterator[list[subprocess.Popen[str]]]:
        """Run the agents, each a process of its own."""
        running = [self.start(name) for name in AGENTS]
        try:
            yield running
        finally:
            for agent in running:
                agent.communicate()  # closes its standard input, at which it ends

    def start(self, name: str) -> subprocess.Popen[str]:
        """Start one agent."""
        told = {
            "url": self.url,
            "credential": credential_for(f"{name}-agent-1", self.url, self.given),
            "trace_id": self.trace_id,
            "after": self.after,
            "pace": self.pace,
        }
        command = [sys.executable, "-m", "demo.agents", name]
        environment = os.environ | {"DEMO_AGENT": json.dumps(told)}
        return subprocess.Popen(  # noqa: S603 - our own program
            command, env=environment, stdin=subprocess.PIPE, text=True, start_new_session=True
        )

    def begin(self) -> None:
        """Let the incident arrive, and a piece of documentation that nobody will get to in time."""
        incident = {"title": "One login in ten fails", "service": "shop"}
        self.create("incident", incident, sla_target=900)
        self.create("documentation", {"title": "How sessions work"}, priority="P3", sla_target=1)

    def create(self, task_type: str, payload: Json, **more: Any) -> None:
        """Hand in a task."""
        new = {
            "type": task_type,
            "payload": payload,
            "trace_id": self.trace_id,
            "source": "demo",
            **more,
        }
        self.pager.post("/tasks", new, **{"Idempotency-Key": str(uuid.uuid4())})

    def follow(self, agents: list[subprocess.Popen[str]]) -> None:
        """Tell what happens until all is done; raise WentWrong."""
        began = time.monotonic()
        for event in self.pager.events(self.after, trace_id=self.trace_id):
            if event:
                self.hear(event)
            if self.missed and self.done == DONE:
                return
            if any(agent.poll() is not None for agent in agents):
                raise WentWrong("An agent ended by itself: see above.")
            if self.approve and time.monotonic() - began > PATIENCE:
                missing = sorted(DONE - self.done) or ["the missed deadline"]
                raise WentWrong(
                    f"After {PATIENCE} seconds this has not happened: {', '.join(missing)}."
                )

    def hear(self, event: Json) -> None:
        """Take in one event."""
        task = self.task(event["task_id"])
        if told := line(event, self.tasks):
            say(told)
        match event["event_type"]:
            case "approval.requested":
                self.decide(event["payload"]["approval_id"], task)
            case "sla.violation":
                self.missed = self.missed or task["type"] == "documentation"
            case "task.completed" if event["origin"] != "agent" or event["moved_to"]:
                self.done.add(task["type"])
            case "task.failed" | "task.cancelled" if event["moved_to"]:
                raise WentWrong(f"The {task['type']} ended otherwise than told.")

    def task(self, task_id: str) -> Json:
        """Return a task, looked up once."""
        if task_id and task_id not in self.tasks:
            self.tasks[task_id] = self.pager.get(f"/tasks/{task_id}")["task"]
        return self.tasks.get(task_id, {})

    def decide(self, approval_id: str, task: Json) -> None:
        """Approve, or say where a person does."""
        console = f"{self.url}/admin/approvals_app/approval/"
        if self.alice is None:
            say(f"\n  >>> Your turn: approve the {task['type']} at {console}\n")
            return
        time.sleep(self.pace)
        try:
            self.alice.post(
                f"/approvals/{approval_id}/approve", {"reason": "Looked at it; go ahead."}
            )
        except Refused as refusal:
            say(f"\n  >>> {refusal}\n  >>> A person has to: {console}\n")

    def end(self) -> None:
        """Print the timeline, and where to look."""
        documentation = next(
            task for task in self.tasks.values() if task["type"] == "documentation"
        )
        now = self.pager.get(f"/tasks/{documentation['task_id']}")["task"]
        if now["sla"]["state"] != "violated":
            raise WentWrong(f"The documentation's deadline is {now['sla']['state']}, not violated.")
        say(f"\nThe whole affair, from GET /events?trace_id={self.trace_id}\n")
        timeline(self.pager.get("/events", trace_id=self.trace_id, limit=200)["events"])
        say(f"\nIn the console: {self.url}/admin/tasks_app/task/?q={self.trace_id} (its tasks),")
        say(f"  {self.url}/admin/events_app/event/?q={self.trace_id} (its events),")
        say(f"  {self.url}/admin/approvals_app/approval/?status=decided (who signed what).")


def main(arguments: list[str] | None = None) -> int:
    """Play the day; return 0 only if it went as told."""
    options = parser().parse_args(arguments)
    given = (
        bearer(options.token)
        if options.token
        else {"X-API-Key": options.api_key}
        if options.api_key
        else {}
    )
    try:
        play(
            Day(
                options.url.rstrip("/"),
                given,
                approve=options.approve,
                pace=0.1 if options.fast else 1.5,
            )
        )
    except KeyboardInterrupt:
        say("\nStopped.")
        return 130
    except WentWrong as reason:
        say(f"\nThe day went wrong: {reason}")
        return 1
    except Refused as refusal:
        say(f"\nThe server refused: {refusal}")
        return 1
    except OSError as error:
        say(f"\nNo server answers at {options.url} ({error}). Start one: make up")
        return 1
    return 0


def play(day: Day) -> None:
    """Play one day."""
    say("A day in the life. Three agents are at work: dev, ops and faq, each its own program.\n")
    with day.agents() as agents:
        day.begin()
        day.follow(agents)
    day.end()


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    port = os.environ.get("PORT", "8000")
    options = argparse.ArgumentParser(
        prog="demo",
        description="Three agents play a day against a running server: an incident, its fix, the "
        "deployment, and what people sign in between. They also take other tasks that wait for "
        "dev_agent, ops_agent and faq_agent.",
    )
    options.add_argument(
        "--url", default=f"http://127.0.0.1:{port}", help="the server (default: %(default)s)"
    )
    options.add_argument(
        "--approve", action="store_true", help="approve by API instead of waiting for a person"
    )
    options.add_argument("--fast", action="store_true", help="without pauses for the reader")
    options.add_argument(
        "--token", help="bearer token to work with; not needed on a development server"
    )
    options.add_argument(
        "--api-key", help="API key to work with; not needed on a development server"
    )
    return options


if __name__ == "__main__":
    sys.exit(main())
