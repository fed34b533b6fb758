"""Faults of the work loop: storms of claimers, killed and frozen agents, reports at the moment of
expiry.
"""

import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults.history import broken_stories, late_returns
from tests.faults.service import LEASE, SWEEP, Caller, Report, Service
from tests.stores import environment
from tests.support.processes import ROOT


def claim_storm(service: Service, *, tasks: int, claimers: int, seed: int) -> Report:
    """Many claimers of all web processes take what is there at once: each task is leased once."""
    ids = service.caller("creator").create(tasks)
    barrier = threading.Barrier(claimers)

    def claim_all(number: int) -> list[str]:
        one = services[number % len(services)]
        caller, mine = one.caller(f"claimer-{number}"), list[str]()
        barrier.wait()
        while found := caller.claim(lease_seconds=600):
            mine += [task["task_id"] for task in found]
        return mine

    with service.with_another() as services, ThreadPoolExecutor(claimers) as pool:
        taken = Counter(
            task_id for mine in pool.map(claim_all, range(claimers)) for task_id in mine
        )
    broken = [
        f"{task_id} was leased {taken[task_id]} times" for task_id in ids if taken[task_id] != 1
    ]
    return Report("claim storm", tasks, seed, broken, {"claimers": claimers})


def killed_agents(
    service: Service, *, tasks: int, kills: int, agents: int, seed: int, pause: float
) -> Report:
    """Agents die of kill -9 while they work: no task is lost, none is leased twice at once, all
    come back in time.
    """
    chance = random.Random(seed)
    run = f"killed-agents-{seed}"
    ids = service.caller("creator").create(tasks, max_attempts=100, trace_id=run)
    with tempfile.TemporaryDirectory() as folder:
        alive = [
            start_agent(service, f"agent-{number}", folder, seed + number)
            for number in range(agents)
        ]
        for kill in range(kills):
            time.sleep(pause)
            place = chance.randrange(agents)
            alive[place].kill()
            alive[place].wait()
            alive[place] = start_agent(service, f"agent-{place}", folder, seed + 1000 + kill)
        wait_until_done(service, run, seconds=120 + tasks / 10)
        for agent in alive:
            agent.kill()
            agent.wait()
        accepted = accepted_reports(Path(folder))
    broken = broken_stories(service, ids)
    broken += [
        f"{task_id} was accepted {accepted[task_id]} times"
        for task_id in ids
        if accepted[task_id] > 1
    ]
    late, longest = late_returns(service, ids)
    return Report(
        "killed agents",
        tasks,
        seed,
        broken + late,
        {"kills": kills, "longest return": f"{longest:.1f} s"},
    )


def start_agent(
    service: Service, name: str, folder: str, seed: int, *more: str, **pipes: Any
) -> subprocess.Popen[str]:
    """Start an agent process."""
    secret = service.settings["ORCHESTRATOR_JWT_SECRET"]
    arguments = [service.url, secret, name, str(Path(folder) / f"{name}-{seed}"), str(seed), *more]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.agent", *arguments], cwd=ROOT, text=True, **pipes
    )


def wait_until_done(service: Service, trace_id: str, *, seconds: float) -> None:
    """Return when no task of a trace is open any more, or the time is over."""
    admin, deadline = service.caller("judge", "admin"), time.monotonic() + seconds
    pages = [
        f"/tasks?trace_id={trace_id}&status={status}&limit=1"
        for status in ("pending", "assigned", "in_progress")
    ]
    while time.monotonic() < deadline and any(admin.get(page)["tasks"] for page in pages):
        time.sleep(0.5)


def accepted_reports(folder: Path) -> Counter[str]:
    """Return how many reports on each task the agents saw accepted."""
    lines = (
        json.loads(line)
        for path in folder.iterdir()
        for line in path.read_text().splitlines()
        if line
    )
    return Counter(line["reported"] for line in lines if line.get("status") == 200)


def frozen_holders(service: Service, *, holders: int, seed: int, each: int = 10) -> Report:
    """Holders are stopped past their lease and wake up again: every late report is refused."""
    ids = service.caller("creator").create(holders, max_attempts=100)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with tempfile.TemporaryDirectory() as folder:
        frozen = [
            start_agent(service, f"holder-{n}", folder, seed, str(each), **pipes)
            for n in range(holders // each)
        ]
        held = sum(int(agent.stdout.readline()) for agent in frozen if agent.stdout)
        for agent in frozen:
            agent.send_signal(signal.SIGSTOP)
        time.sleep(LEASE + 2 * SWEEP + 1)
        second = service.caller("second")
        again = [
            task
            for _ in range(holders // 50 + 1)
            for task in second.claim(limit=50, lease_seconds=600)
        ]
        for agent in frozen:
            agent.send_signal(signal.SIGCONT)
        answers = [
            status
            for agent in frozen
            for status in json.loads(agent.communicate("\n", timeout=60)[0])
        ]
    broken = [f"a late report was answered {status}" for status in answers if status != 409]
    broken += [] if held == len(again) == holders else [f"{held} were held, {len(again)} came back"]
    broken += [
        f"{task['task_id']} could not be completed"
        for task in again
        if second.complete(task) != 200
    ]
    return Report("frozen holders", holders, seed, broken + broken_stories(service, ids))


def reports_at_expiry(service: Service, *, rounds: int, seed: int, at_once: int = 10) -> Report:
    """Reports arrive within 20 ms of the lease's end, sweeps without pause: one of the two wins,
    never both.
    """
    chance, broken = random.Random(seed), []
    sweeper = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.sweeper"],
        cwd=ROOT,
        env=environment() | service.settings,
    )
    outcomes: Counter[int] = Counter()
    try:
        for _ in range(0, rounds, at_once):
            ids = service.caller("creator").create(at_once, max_attempts=100)
            results = one_round(service, at_once, chance)
            outcomes.update(results.values())
            time.sleep(2 * SWEEP)
            broken += [
                flaw
                for task_id in ids
                for flaw in both_or_none(service, task_id, results.get(task_id))
            ]
            drain(service)
    finally:
        sweeper.kill()
        sweeper.wait()
    figures = {"accepted": outcomes[200], "refused": outcomes[409]}
    return Report("reports at expiry", rounds, seed, broken, figures)


def one_round(service: Service, number: int, chance: random.Random) -> dict[str, int]:
    """Claim tasks and report each at the end of its lease, 20 ms more or less.

    Return the answers by task.
    """
    holder = service.caller("holder")
    tasks = holder.claim(limit=number)
    offsets = [chance.uniform(-0.02, 0.02) for _ in tasks]

    def report(task: dict[str, Any], offset: float) -> tuple[str, int]:
        caller = service.caller("holder")
        way = seconds_to_arrive(caller)
        until = datetime.fromisoformat(task["lease_expires_at"])
        time.sleep(max(0.0, (until - datetime.now(UTC)).total_seconds() + offset - way))
        return task["task_id"], caller.complete(task)

    with ThreadPoolExecutor(number) as pool:
        return dict(pool.map(report, tasks, offsets))


def seconds_to_arrive(caller: Caller) -> float:
    """Return how long a request of this caller is under way, connected as it then is."""
    times = []
    for _ in range(3):
        start = time.monotonic()
        caller.get("/health")
        times.append(time.monotonic() - start)
    return min(times) / 2


def both_or_none(service: Service, task_id: str, answer: int | None) -> list[str]:
    """Return what is wrong unless exactly one of report and requeue came through."""
    timeline = service.caller("judge", "admin").get(f"/tasks/{task_id}/timeline")["timeline"]
    kinds = [event["event_type"] for event in timeline]
    completed, requeued = kinds.count("task.completed"), kinds.count("task.requeued")
    if answer == 200 and completed == 1 and requeued == 0:
        return []
    if answer == 409 and completed == 0 and requeued == 1:
        return []
    return [f"{task_id}: answered {answer}, completed {completed} times, requeued {requeued} times"]


def drain(service: Service) -> None:
    """Complete what came back, so that the next round finds an empty queue."""
    caller = service.caller("drain")
    while tasks := caller.claim(limit=50, lease_seconds=600):
        for task in tasks:
            caller.complete(task)
