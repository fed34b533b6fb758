"""The service is stopped by SIGTERM while callers open a connection for every request, and started
again.

A connection that is made is answered: either the caller cannot connect at all, or it gets its whole
answer.
"""

import contextlib
import http.client
import json
import os
import random
import re
import shutil
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.faults.service import Report, Service, two_on_servers
from tests.support.processes import ROOT
from tests.support.servers import (
    START_SECONDS,
    NotInstalled,
    free_port,
    popen,
    private_folder,
    write,
)

CALLERS = 24
TASK = json.dumps({"type": "bugfix", "payload": {}})


class Callers:
    """Threads that send requests without pause, each over a connection of its own."""

    def __init__(self, service: Service, token: str, *, number: int = CALLERS) -> None:
        """token: of an agent. The service's URL may change between two requests."""
        self.service = service
        self.headers = {"Authorization": token, "Content-Type": "application/json"}
        self.statuses: Counter[int] = Counter()
        self.refused = 0
        self.broken: list[str] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=[caller]) for caller in range(number)
        ]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self, caller: int) -> None:
        while not self._stop.is_set():
            way = http.client.HTTPConnection(urlsplit(self.service.url).netloc, timeout=30)
            try:
                way.connect()
            except ConnectionRefusedError:
                self.refused += 1
                time.sleep(0.05)
                continue
            self._ask(way, creates=caller % 3 == 0)

    def _ask(self, way: http.client.HTTPConnection, *, creates: bool) -> None:
        try:
            if creates:
                way.request("POST", "/tasks", TASK, self.headers)
            else:
                way.request("GET", "/stats", headers=self.headers)
            answer = way.getresponse()
            answer.read()
            self.statuses[answer.status] += 1
        except (OSError, http.client.HTTPException) as fault:
            self.broken.append(f"{'POST' if creates else 'GET'}: {fault!r}")
        finally:
            way.close()


def restarts(service: Service, *, stops: int, seed: int, requests: int = 0) -> Report:
    """Stop and start the service under load.

    requests: how many are answered at least, spread over the stops.
    """
    dice, broken = random.Random(seed), []
    with Callers(service, service.caller("caller").authorization) as callers:
        for stop in range(1, stops + 1):
            time.sleep(dice.uniform(0.2, 0.6))
            while callers.statuses.total() < requests * stop / stops:
                time.sleep(0.01)
            if status := service.stop():
                broken.append(f"ended with {status}")
            service.start()
    answered = callers.statuses.total()
    broken += callers.broken + [
        f"{status} answered" for status in callers.statuses if status != 200
    ]
    figures = {"stops": stops, "could not connect": callers.refused}
    return Report("restarts", answered + len(callers.broken), seed, broken, figures)


def rolling(*, rounds: int, seed: int, requests: int = 0) -> Report:
    """Restart two services in turn, behind nginx as the deployment page sets it up, under load."""
    dice, broken, url = random.Random(seed), [], f"http://127.0.0.1:{free_port()}"
    with two_on_servers() as services, nginx(url, [service.url for service in services]) as log:
        front = Service(services[0].settings, [], url)
        with Callers(front, services[0].caller("caller").authorization) as callers:
            for number, service in enumerate(services * rounds, start=1):
                time.sleep(dice.uniform(0.2, 0.6))
                while callers.statuses.total() < requests * number / rounds / len(services):
                    time.sleep(0.01)
                if status := service.stop():
                    broken.append(f"ended with {status}")
                service.start()
        broken += callers.broken + [
            f"{number} times {status}"
            for status, number in callers.statuses.items()
            if status != 200
        ]
        broken += why(log) if broken else []
    figures = {"restarts": rounds * len(services), "could not connect": callers.refused}
    return Report(
        "rolling restarts behind nginx",
        callers.statuses.total() + len(callers.broken),
        seed,
        broken,
        figures,
    )


@contextlib.contextmanager
def nginx(url: str, upstreams: list[str]) -> Iterator[Path]:
    """Run nginx at an address, set up as the deployment page shows; give the file of its log."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if not program:
        raise NotInstalled("no nginx found")
    with private_folder() as folder:
        write(folder / "nginx.conf", configuration(folder, url, upstreams))
        process = popen(
            [program, "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"], cwd=folder
        )
        try:
            wait_until_it_answers(url)
            yield folder / "error.log"
        finally:
            process.terminate()
            process.wait()


def why(log: Path) -> list[str]:
    """Return what nginx says went wrong, each once, but that a service was not there."""
    said = re.findall(r"#\d+: \*\d+ (.+?), client:", log.read_text(errors="replace"))
    return sorted({sentence for sentence in said if "(111:" not in sentence})


def configuration(folder: Path, url: str, upstreams: list[str]) -> str:
    """Return the deployment page's part of nginx.conf with addresses of our own, and what belongs
    around it.
    """
    [shown] = re.findall(
        r"```nginx\n(.+?)```", (ROOT / "DEPLOYMENT.md").read_text(encoding="utf-8"), re.DOTALL
    )
    for port, upstream in zip((8000, 8001), upstreams, strict=True):
        shown = shown.replace(f"127.0.0.1:{port}", urlsplit(upstream).netloc)
    shown = re.sub(r"listen .+;", f"listen {urlsplit(url).netloc};", shown)
    shown = re.sub(r"\n *ssl_.+;|server_name .+;", "", shown)
    kept = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
        daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
        events {{ worker_connections 1024; }}
        http {{ access_log off; {kept} {shown} }}
    """


def wait_until_it_answers(url: str) -> None:
    """Return when something listens there."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return socket.create_connection((urlsplit(url).hostname, urlsplit(url).port)).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
