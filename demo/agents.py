"""The three agent programs: `python -m demo.agents dev|ops|faq`. Each claims work, and some listen
to the news.

They are started by the demo, which gives address, credential and pace in the environment. They end
with it.
"""

import json
import os
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from typing import Any

from demo.client import Client, Json

LEASE_SECONDS = 30
WAIT_SECONDS = 20


class Agent:
    """A program that works for one pool.

    Subclasses say what they do with which type and which news.
    """

    pool = ""
    types: tuple[str, ...] = ()  # what it takes of its queue
    listens_to = ""  # event types it reacts to, separated by commas

    def __init__(self, client: Client, *, trace_id: str, after: str, pace: float) -> None:
        """trace_id: the affair of the day.

        after: the cursor to listen from. pace: seconds a step takes.
        """
        self.client = client
        self.trace_id = trace_id
        self.after = after
        self.pace = pace

    def work(self) -> None:
        """Take tasks for ever, and do them."""
        while True:
            for task in self.claim(*self.types):
                self.do(task)

    def claim(self, *types: str) -> list[Json]:
        """Return the next task of these types, if one comes up in time."""
        asked = {
            "agent": self.pool,
            "types": types,
            "lease_seconds": LEASE_SECONDS,
            "wait_seconds": WAIT_SECONDS,
        }
        return self.client.post("/tasks/claim", asked)["tasks"]

    def do(self, task: Json) -> None:
        """Do one task: two steps with a sign of life between them, then the report."""
        self.step()
        alive = {"attempt": task["attempt"], "progress": 50}
        if self.client.post(f"/tasks/{task['task_id']}/heartbeat", alive)["cancelled"]:
            return
        self.step()
        result = getattr(self, task["type"])(task)
        report = {"status": "completed", "attempt": task["attempt"], "result": result}
        self.client.patch(f"/tasks/{task['task_id']}/status", report)

    def listen(self) -> None:
        """Hear the news for ever, and react."""
        for event in self.client.events(self.after, types=self.listens_to, trace_id=self.trace_id):
            if event:
                self.hear(event)

    def hear(self, event: Json) -> None:
        """React to one event."""

    def step(self) -> None:
        """Take the time a step takes."""
        time.sleep(self.pace)

    def create(self, task_type: str, payload: Json, **more: Any) -> None:
        """Hand in a task of the day's affair."""
        new = {
            "type": task_type,
            "payload": payload,
            "trace_id": self.trace_id,
            "source": "demo",
            **more,
        }
        self.client.post("/tasks", new, **{"Idempotency-Key": str(uuid.uuid4())})

    def tell(self, event_type: str, payload: Json, task: Json) -> None:
        """Publish an event about a task."""
        said = {"event_type": event_type, "source_agent": self.pool, "payload": payload}
        self.client.post(
            "/events/publish", {**said, "task_id": task["task_id"], "trace_id": self.trace_id}
        )


class Dev(Agent):
    """Fixes bugs, and says when a pull request is merged."""

    pool = "dev_agent"
    types = ("bugfix",)

    def bugfix(self, task: Json) -> Json:
        """Fix a bug."""
        self.tell(
            "pr.merged",
            {"pull_request": 77, "title": f"Fix: {task['payload'].get('title', 'a bug')}"},
            task,
        )
        return {"pull_request": 77}


class Ops(Agent):
    """Looks after incidents, and deploys what is merged."""

    pool = "ops_agent"
    types = ("incident", "deployment")
    listens_to = "pr.merged"

    def incident(self, task: Json) -> Json:
        """Find the cause of an incident, and ask for the fix."""
        fix = {
            "title": "Sessions expire after a minute",
            "found_in": task["payload"].get("service", ""),
        }
        self.create("bugfix", fix, priority="P1", parent_task_id=task["task_id"], sla_target=3600)
        return {"cause": "the session cookie got the wrong lifetime"}

    def deployment(self, task: Json) -> Json:
        """Deploy."""
        version = task["payload"].get("version", "")
        self.tell(
            "deployment.completed",
            {"service": task["payload"].get("service", ""), "version": version},
            task,
        )
        return {"version": version, "healthy": True}

    def hear(self, event: Json) -> None:
        """Ask for the deployment of what was merged."""
        what = {
            "service": "shop",
            "version": "1.4.1",
            "pull_request": event["payload"]["pull_request"],
        }
        self.create(
            "deployment", what, priority="P0", parent_task_id=event["task_id"], sla_target=3600
        )


class Faq(Agent):
    """Keeps the knowledge base up to date.

    Documentation it touches only when somebody complains.
    """

    pool = "faq_agent"
    types = ("faq_update",)
    listens_to = "deployment.completed,sla.violation"

    def faq_update(self, task: Json) -> Json:
        """Update the knowledge base."""
        self.tell("faq.updated", {"article": task["payload"].get("question", "")}, task)
        return {"articles": 1}

    def documentation(self, task: Json) -> Json:
        """Write what is long overdue."""
        return {"pages": 1}

    def hear(self, event: Json) -> None:
        """Update the knowledge base after a deployment; write what is late."""
        if event["event_type"] == "deployment.completed":
            question = {"question": "Why was I logged out?", "version": event["payload"]["version"]}
            self.create("faq_update", question, priority="P3", parent_task_id=event["task_id"])
            return
        for task in self.claim("documentation"):
            self.do(task)


AGENTS: dict[str, type[Agent]] = {"dev": Dev, "ops": Ops, "faq": Faq}


def main(name: str) -> None:
    """Run one agent until the demo ends, which closes our standard input, however it ends."""
    settings = json.loads(os.environ["DEMO_AGENT"])
    client = Client(settings.pop("url"), settings.pop("credential"))
    agent = AGENTS[name](client, **settings)
    duties = [agent.work, agent.listen] if agent.listens_to else [agent.work]
    for duty in duties:
        threading.Thread(target=run, args=[duty], daemon=True).start()
    sys.stdin.read()


def run(duty: Callable[[], None]) -> None:
    """Do a duty; a fault in it ends the program."""
    try:
        duty()
    except Exception:
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
