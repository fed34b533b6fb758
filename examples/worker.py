"""A worker. Put your own work into `work`, then: TOKEN=… AGENT=dev_agent python3 worker.py."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from urllib import error, request

BASE = os.environ.get("BASE", "http://127.0.0.1:8000")
HEADERS = {"Authorization": f"Bearer {os.environ['TOKEN']}", "Content-Type": "application/json"}


def work(payload: dict) -> dict:
    """Return how a task ended; after an exception it is tried again later."""
    return {"status": "completed", "result": {"greeting": f"Hello {payload['name']}"}}


def call(method: str, path: str, body: dict) -> dict:
    """Return the answer; ask again while the server is away or busy; raise if it refuses."""
    message = request.Request(BASE + path, json.dumps(body).encode(), HEADERS, method=method)
    while True:
        try:
            return json.load(request.urlopen(message, timeout=90))
        except OSError as problem:
            if getattr(problem, "code", 503) < 429:
                raise
        time.sleep(1)


claim = {"agent": os.environ["AGENT"], "lease_seconds": 60, "wait_seconds": 30}
while True:
    for task in call("POST", "/tasks/claim", claim)["tasks"]:
        path, lease = f"/tasks/{task['task_id']}", {"attempt": task["attempt"]}
        with ThreadPoolExecutor() as pool, suppress(error.HTTPError):  # 409: the lease is over
            job = pool.submit(work, task["payload"])
            while wait([job], timeout=20).not_done:
                call("POST", f"{path}/heartbeat", lease)
            failed = {"status": "failed", "error": repr(job.exception()), "retryable": True}
            call("PATCH", f"{path}/status", lease | (failed if job.exception() else job.result()))
