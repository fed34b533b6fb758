"""How long creates take beside a prune of many old tasks, on the embedded store.

    python -m tests.bench_prune --tasks 300000 --creates 1000

It fills a database of its own (a minute for 300,000 tasks with three events each), starts a server
on it, and creates tasks one after the other: first alone, then beside `prune --delete`.
"""

import argparse
import os
import subprocess
import sys
import time

from tests.bench.client import TASK, Client, bearer
from tests.support.live import LiveServer, live_server

PAUSE = 0.03  # seconds between two creates
FILL = """
from datetime import timedelta
from django.utils import timezone
from events_app.log import sequencing
from events_app.models import Event
from orchestrator_site.core.actors import SYSTEM
from tasks_app.models import Status, Task, TaskCount
from tasks_app.services import intake, lifecycle
from tests.support.growth import analyse, fill_events, fill_tasks

old = timezone.now() - timedelta(days=100)
task = intake.create_task(type="bugfix", payload={{"text": "x" * 300}}, by=SYSTEM, now=old)
lifecycle.report_status(task_id=task.task_id, status=Status.COMPLETED, by=SYSTEM, now=old)
task.refresh_from_db()
fill_tasks(task, {tasks} - 1)
fill_events(Event.objects.first(), 3 * {tasks})
TaskCount.add("completed", {tasks} - 1)
analyse()
"""


def fill(environment: dict[str, str], tasks: int) -> None:
    """Make the server's database, with tasks that ended a hundred days ago."""
    run = [sys.executable, "manage.py"]
    environment = {**os.environ, **environment}
    subprocess.run([*run, "migrate", "-v0"], env=environment, check=True)
    subprocess.run(
        [*run, "shell", "-v0", "-c", FILL.format(tasks=tasks)], env=environment, check=True
    )


def create(server: LiveServer, number: int) -> str:
    """Create tasks one after the other; return how long that took."""
    client, times = Client(server.url, bearer(server.secret)), []
    for _ in range(number):
        start = time.monotonic()
        client.send("POST", "/tasks", TASK)
        times.append(time.monotonic() - start)
        time.sleep(PAUSE)
    middle, late, last = (
        sorted(times)[min(number - 1, int(number * share))] * 1000 for share in (0.5, 0.99, 1)
    )
    return f"p50 {middle:.0f} ms   p99 {late:.0f} ms   max {last:.0f} ms   N={number}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=300_000)
    parser.add_argument("--creates", type=int, default=1000)
    options = parser.parse_args()
    stores = {"DATABASE_URL": "", "REDIS_URL": ""}
    with live_server(lambda environment: fill(environment, options.tasks), **stores) as server:
        create(server, 50)
        print("alone         ", create(server, options.creates), flush=True)
        command = [sys.executable, "manage.py", "prune", "--older-than-days", "30", "--delete"]
        environment = {**os.environ, **server.environment}
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as prune:
            assert prune.stderr is not None
            prune.stderr.readline()  # it is at work
            print("beside a prune", create(server, options.creates), flush=True)
            assert prune.poll() is None, "It was over too soon; take more tasks."
            prune.terminate()
            *_, progress = prune.stderr.read().splitlines()
        print("meanwhile", progress)


if __name__ == "__main__":
    main()
