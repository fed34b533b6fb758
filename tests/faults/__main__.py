"""The fault runs in their long form, each printing its N and seed: `make faults`.

python -m tests.faults [--seed 1] [--only NAME] [--teeth]

With --teeth the same runs hurt a service with a planted fault, and must see it.
"""

import argparse
import random
import sys
from collections.abc import Callable
from functools import partial

from tests.faults import webhooks, work
from tests.faults.crashes import crashes
from tests.faults.cuts import stream_cuts
from tests.faults.databases import databases
from tests.faults.ordering import ordering
from tests.faults.restarts import restarts, rolling
from tests.faults.service import Report, Service, embedded, on_servers
from tests.support.servers import NotInstalled

Run = Callable[[Service, int], Report]
LONG: dict[str, Run] = {
    "claim_storm": lambda service, seed: work.claim_storm(
        service, tasks=1000, claimers=64, seed=seed
    ),
    "killed_agents": lambda service, seed: work.killed_agents(
        service, tasks=2000, kills=100, agents=8, seed=seed, pause=0.5
    ),
    "frozen_holders": lambda service, seed: work.frozen_holders(service, holders=200, seed=seed),
    "reports_at_expiry": lambda service, seed: work.reports_at_expiry(
        service, rounds=1000, seed=seed, at_once=20
    ),
    "ordering": lambda service, seed: ordering(
        # SQLite lets one write at a time: there the run is a matter of patience, not of order
        service,
        writers=8,
        events=10_000 if "DATABASE_URL" in service.settings else 1_000,
        seed=seed,
    ),
    "crashes": lambda service, seed: crashes(service, kills=20, seed=seed),
    "restarts": lambda service, seed: restarts(service, stops=20, requests=10_000, seed=seed),
    "stream_cuts": lambda service, seed: stream_cuts(service, cuts=500, seed=seed),
    "mad_receiver": lambda service, seed: webhooks.mad_receiver(
        service, events=1000, kills=20, seed=seed, seconds=900
    ),
}
ON_SERVERS: dict[str, Run] = {  # what hurts a database that is a process of its own
    "databases": lambda service, seed: databases(service, faults=60, seed=seed),
}
ALONE: dict[str, Callable[[int], Report]] = {  # on servers of their own
    "rolling": lambda seed: rolling(rounds=10, requests=10_000, seed=seed),
}
TEETH: dict[str, tuple[str, Run]] = {
    "no_attempt_check": (
        "embedded",
        lambda service, seed: work.frozen_holders(service, holders=20, seed=seed),
    ),
    "rescue_by_id": (
        "embedded",
        lambda service, seed: work.reports_at_expiry(service, rounds=100, seed=seed),
    ),
    "number_taken_early": (
        "servers",
        lambda service, seed: ordering(service, writers=8, events=60, seed=seed),
    ),
    "event_after_commit": ("embedded", lambda service, seed: crashes(service, kills=5, seed=seed)),
    "claim_without_lock": (
        "servers",
        lambda service, seed: work.claim_storm(service, tasks=300, claimers=32, seed=seed),
    ),
}
SETTINGS = {"mad_receiver": webhooks.SETTINGS}  # what a run needs besides
STORES = {"embedded": embedded, "servers": on_servers}


def main() -> int:
    """Run what was asked for.

    Return 0 if every promise held, and with --teeth if every planted fault was seen.
    """
    asked = argparse.ArgumentParser(
        prog="make faults", description="Hurt a real service and see what holds."
    )
    asked.add_argument("--seed", type=int, default=random.randrange(10**6), help="replay a run")
    asked.add_argument("--only", help="one run, by name")
    asked.add_argument(
        "--teeth",
        action="store_true",
        help="hurt a service with planted faults, which must be seen",
    )
    options = asked.parse_args()
    good = (
        teeth(options.seed, options.only) if options.teeth else promises(options.seed, options.only)
    )
    return 0 if good else 1


def promises(seed: int, only: str | None) -> bool:
    """Run the long form on both kinds of stores."""
    good = True
    for stores, start in STORES.items():
        runs = LONG | (ON_SERVERS if start is on_servers else {})
        for name, run in runs.items():
            if only in (None, name):
                good &= attempt(
                    f"{stores}: {name}",
                    partial(with_service, start, run, seed, SETTINGS.get(name, {})),
                )
    for name, alone in ALONE.items():
        if only in (None, name):
            good &= attempt(name, partial(alone, seed))
    return good


def teeth(seed: int, only: str | None) -> bool:
    """Run against planted faults; each must be seen."""
    good = True
    for fault, (stores, run) in TEETH.items():
        if only in (None, fault):
            with STORES[stores](planted=fault) as service:
                report = run(service, seed)
            print(
                f"planted {fault}: {'seen' if report.broken else 'NOT SEEN'} – {report}", flush=True
            )
            good &= bool(report.broken)
    return good


def with_service(
    start: Callable[..., object], run: Run, seed: int, settings: dict[str, str]
) -> Report:
    """Run against a fresh service."""
    with start(**settings) as service:  # type: ignore[attr-defined]
        return run(service, seed)


def attempt(name: str, run: Callable[[], Report]) -> bool:
    """Print what a run showed; return whether all promises held."""
    try:
        report = run()
    except NotInstalled as missing:
        print(f"{name}: not run, {missing}", flush=True)
        return True
    print(f"{name}: {report}", flush=True)
    return not report.broken


if __name__ == "__main__":
    sys.exit(main())
