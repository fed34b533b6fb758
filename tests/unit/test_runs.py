"""How the tests themselves are run: a failure anywhere fails the whole, nothing is left running."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import stores
from tests.support import runs
from tests.support.runs import ROOT, Run, run_alone, run_together
from tests.support.turns import turn


def python(name: str, code: str) -> Run:
    return Run(name, [sys.executable, "-c", code], dict(os.environ))


def test_what_two_print_side_by_side_does_not_mix(capfd: pytest.CaptureFixture[str]) -> None:
    slow = "import time; print('slow', flush=True); time.sleep(0.4); print('slow', flush=True)"
    both = [python("first", slow), python("second", slow.replace("slow", "quick"))]

    run_together(both)

    lines = [line for line in capfd.readouterr().out.splitlines() if line in ("slow", "quick")]
    assert lines in (["slow"] * 2 + ["quick"] * 2, ["quick"] * 2 + ["slow"] * 2)
    assert all(0.4 < run.seconds < 10 for run in both)


def test_who_waits_sees_how_far_each_is(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "SECONDS_BETWEEN_PROGRESS", 0.2)

    run_together([python("only", "import time; print('half', flush=True); time.sleep(1)")])

    assert "only, 0:00: half" in capfd.readouterr().out.splitlines()


def test_a_failure_on_one_of_two_stores_fails_the_whole() -> None:
    both = [python("good", ""), python("bad", "raise SystemExit(1)")]

    run_together(both)

    assert [run.status for run in both] == [0, 1] and stores.verdict(both) == 1


def test_a_run_that_is_killed_has_failed() -> None:
    killed = python("killed", "import os; os.kill(os.getpid(), 9)")

    run_alone(killed)

    assert killed.status == 128 + signal.SIGKILL and stores.verdict([killed]) == killed.status


def test_no_test_on_one_store_is_no_failure_and_on_all_is_one() -> None:
    none, good = python("none", "raise SystemExit(5)"), python("good", "")

    run_together([none, good])

    assert (stores.verdict([none, good]), stores.verdict([none])) == (0, 5)


def test_who_stops_the_runner_stops_all_it_started(tmp_path: Path) -> None:
    started = f"""
import pathlib, sys, time
try:
    pathlib.Path({str(tmp_path)!r}, sys.argv[1]).touch()
    time.sleep(60)
finally:
    pathlib.Path({str(tmp_path)!r}, "ended-" + sys.argv[1]).touch()
"""
    runner = f"""
import sys
from tests.support.runs import Run, run_together
command = [sys.executable, "-c", {started!r}]
run_together([Run(name, [*command, name], {{}}) for name in ("a", "b")])
"""
    with subprocess.Popen(
        [sys.executable, "-c", runner],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 30
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(30)

    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "ended-a", "ended-b"}


def test_a_timed_test_waits_for_those_beside_it_and_others_do_not(tmp_path: Path) -> None:
    lock = str(tmp_path / "lock")
    with ThreadPoolExecutor(1) as pool, turn(lock, alone=False):
        with turn(lock, alone=False):
            pass
        timed = pool.submit(hold_alone, lock)
        with pytest.raises(TimeoutError):
            timed.result(0.2)
        first = time.monotonic()
    assert timed.result(10) >= first


def hold_alone(lock: str) -> float:
    """Take the turn alone; return when it was there."""
    with turn(lock, alone=True):
        return time.monotonic()
