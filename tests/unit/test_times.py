"""The clock of the house, with a monotonic clock and a date in the test's hand."""

import itertools
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from celery.beat import Scheduler
from kombu.utils.imports import symbol_by_name

from orchestrator_site.celery import app
from orchestrator_site.core import times
from orchestrator_site.core.times import RATE, Clock

BEGAN = 1_800_000_000.0
HOURS = 3600.0


class Machine:
    """A machine: `run` lets time pass, `step` sets its date. Its monotonic clock cannot be set."""

    def __init__(self, date: float = BEGAN) -> None:
        self.elapsed, self.date = 5000.0, date
        self.clock = Clock(elapsed=lambda: self.elapsed, system=lambda: self.date)

    def run(self, seconds: float) -> None:
        self.elapsed += seconds
        self.date += seconds

    def step(self, seconds: float) -> None:
        self.date += seconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose clock is the house's."""
    made = Machine()
    made.clock.correct(made.date)
    monkeypatch.setattr(times, "clock", made.clock)
    return made


def test_the_clock_goes_on_with_the_monotonic_one() -> None:
    machine = Machine()
    machine.run(90)

    assert machine.clock.seconds() == BEGAN + 90


@pytest.mark.parametrize("step", [2 * HOURS, -2 * HOURS])
def test_a_step_of_the_date_moves_nothing_at_once(machine: Machine, step: float) -> None:
    machine.step(step)
    before = machine.clock.seconds()

    machine.clock.correct(machine.date)

    assert before == machine.clock.seconds() == BEGAN


@pytest.mark.parametrize("step", [2 * HOURS, -2 * HOURS])
def test_a_lease_of_ten_minutes_lasts_as_long_within_a_hundredth(
    machine: Machine, step: float
) -> None:
    ends = times.now() + timedelta(minutes=10)
    machine.step(step)
    machine.clock.correct(machine.date)

    machine.run(600 / (1 + RATE) - 1)
    assert times.now() < ends
    machine.run(600 * RATE * 2 + 2)
    assert times.now() > ends


@pytest.mark.parametrize("step", [100.0, -100.0, 1.5, -1.5])
def test_a_difference_is_made_up_steadily_and_then_no_more(machine: Machine, step: float) -> None:
    machine.step(step)
    machine.clock.correct(machine.date)
    readings = []
    for _ in range(int(abs(step) / RATE) + 60):
        machine.run(1)
        readings.append(machine.clock.seconds())

    steps = [after - before for before, after in itertools.pairwise(readings)]
    assert all(1 - RATE - 1e-6 <= gone <= 1 + RATE + 1e-6 for gone in steps)
    assert machine.clock.seconds() == pytest.approx(machine.date)


def test_measuring_again_and_again_does_not_make_it_faster(machine: Machine) -> None:
    machine.step(2 * HOURS)
    for _ in range(60):
        machine.clock.correct(machine.date)
        machine.run(60)

    assert machine.clock.seconds() == pytest.approx(BEGAN + 3600 * (1 + RATE))


def test_two_machines_an_hour_apart_agree_once_they_have_asked_the_database() -> None:
    early, late = Machine(), Machine(BEGAN + HOURS)
    for machine in (early, late):
        machine.clock.correct(BEGAN + 10)

    assert early.clock.seconds() == late.clock.seconds() == BEGAN + 10


def test_a_difference_over_two_seconds_is_logged_once(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1.5, 30, 0, 0):
        machine.step(step)
        machine.clock.correct(machine.date)
        machine.run(60)

    [said] = caplog.messages
    assert "moved by +30.0 s" in said


def test_what_others_date_is_judged_by_both_ends_of_a_difference(machine: Machine) -> None:
    assert times.bounds() == (BEGAN, BEGAN)
    machine.step(-2 * HOURS)
    machine.clock.correct(machine.date)

    assert times.bounds() == (BEGAN - 2 * HOURS, BEGAN)


def test_the_time_is_aware_and_universal(machine: Machine) -> None:
    assert times.now() == datetime.fromtimestamp(BEGAN, UTC)
    assert app.now() == times.now()


@pytest.mark.django_db
def test_what_counts_is_measured_in_the_store() -> None:
    assert times.measured() == pytest.approx(times.clock.seconds(), abs=5)


class Database:
    """A database that takes some seconds to say what time it is."""

    vendor = "postgresql"

    def __init__(self, machine: Machine, *, takes: float) -> None:
        self.machine, self.takes = machine, takes

    def cursor(self) -> "Database":
        return self

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *fault: object) -> None:
        pass

    def execute(self, sql: str) -> None:
        self.machine.run(self.takes / 2)
        self.says = self.machine.date
        self.machine.run(self.takes / 2)

    def fetchone(self) -> tuple[float]:
        return (self.says,)


@pytest.mark.parametrize(("takes", "measured"), [(0.5, BEGAN + 0.5), (2.0, None)])
def test_a_database_is_asked_its_time_and_one_that_is_slow_says_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, takes: float, measured: float | None
) -> None:
    monkeypatch.setattr(times, "connection", Database(machine, takes=takes))
    monkeypatch.setattr(times, "elapsed", lambda: machine.elapsed)

    assert times.measured() == measured


@pytest.mark.django_db
def test_a_process_measures_before_it_serves_and_goes_on_when_that_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for_ever = threading.Event()
    monkeypatch.setattr(times, "time", SimpleNamespace(sleep=lambda seconds: for_ever.wait()))

    times.Keeper().start()

    assert "The time could not be measured." in caplog.text


@pytest.mark.django_db
def test_a_process_has_one_thread_that_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    measurements, for_ever = itertools.count(), threading.Event()
    still = SimpleNamespace(sleep=lambda seconds: for_ever.wait())
    monkeypatch.setattr(times, "time", still)
    monkeypatch.setattr(times, "measure", lambda: next(measurements))
    keeper = times.Keeper()

    keeper.start()
    keeper.start()

    assert next(measurements) == 1


def test_where_a_machine_cannot_tell_how_long_it_slept_its_monotonic_clock_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(times, "time", SimpleNamespace(monotonic=lambda: 12.5))

    assert times.elapsed() == 12.5


class Sent(Scheduler):
    """A scheduler that keeps what it would have sent."""

    def apply_entry(self, entry: object, producer: object = None) -> None:
        sent.append(str(getattr(entry, "name", "")))

    @property
    def producer(self) -> None:
        return None


sent: list[str] = []


@pytest.mark.parametrize("step", [0, 2 * HOURS, -2 * HOURS])
def test_beat_sends_as_often_whatever_the_date_is_set_to(machine: Machine, step: float) -> None:
    sent.clear()
    scheduler = Sent(app)
    for second in range(61):
        if second == 15:
            machine.step(step)
            machine.clock.correct(machine.date)
        while scheduler.tick() == 0:
            pass
        machine.run(1)

    assert sent.count("requeue-lost-leases") in (5, 6, 7)
    assert sent.count("prune-answers") == 0


@pytest.mark.parametrize("step", [0, 2 * HOURS, -2 * HOURS])
def test_a_message_expires_by_the_clock_of_the_house(machine: Machine, step: float) -> None:
    headers = app.amqp.as_task_v2("id-1", "tasks_app.jobs.check_slas", expires=10).headers
    received = SimpleNamespace(id="id-1", expires=datetime.fromisoformat(headers["expires"]))
    request = symbol_by_name(app.tasks["tasks_app.jobs.check_slas"].Request)

    machine.step(step)
    early = request.maybe_expire(received)
    machine.run(11)

    assert (early, request.maybe_expire(received)) == (False, True)
