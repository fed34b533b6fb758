"""Draw what callers do: mostly what succeeds, and each way to be refused now and then."""

from collections.abc import Callable
from random import Random

from approvals_app.models import Status as Verdict
from tasks_app.models import Status
from tests.support.operations import (
    UNKNOWN,
    Act,
    Claim,
    Create,
    Decide,
    Find,
    Heartbeat,
    Limit,
    Operation,
    Publish,
    Release,
    Report,
    Requeue,
    Sweep,
    Tamper,
    Tighten,
    Wait,
)


def any_create(dice: Random) -> Create:
    new = Create(
        kind=dice.choice(["bugfix"] * 12 + ["deployment"] * 3 + ["nonsense"]),
        priority=dice.choice(["P0", "P2", "P3"]),
        by=dice.randrange(4),
        parent=dice.choice([None] * 20 + [0, 3, UNKNOWN]),
        needs=dice.choice([[]] * 9 + [[UNKNOWN], *[[any_place(dice)]] * 3, [0, any_place(dice)]]),
        frees=dice.random() < 0.5,
        seconds=dice.choice([None, 60, 900]),
        key=dice.choice([0, 0, 0, 0, 1, 2, 3]),
        flaw="",
    )
    if dice.random() < 0.97:
        return new
    # Nothing that would refuse it before.
    plain = new._replace(kind="bugfix", priority="P2", parent=None, needs=[], key=new.key and 9)
    return plain._replace(flaw=dice.choice(["sla_target", "max_attempts"]))


def any_publish(dice: Random) -> Publish:
    return Publish(
        event_type=dice.choice(["pr.merged"] * 5 + ["task.created"]),
        source=dice.choice(["dev-agent-1", "ci"] * 3 + ["orchestrator"]),
        place=any_place(dice),
        by=dice.randrange(4),
        flaw=dice.random() < 0.03,
    )


def any_claim(dice: Random) -> Claim:
    return Claim(
        agent=dice.choice(["dev_agent"] * 8 + ["ops_agent"] * 3 + ["no_agent"]),
        types=dice.choice([None, None, ("bugfix",), ("deployment", "bugfix")]),
        limit=dice.randint(1, 3),
        seconds=dice.choice([5, 300]),
        by=dice.randrange(4),
    )


def any_report(dice: Random) -> Report:
    return Report(
        place=any_place(dice),
        held=dice.random() < 0.6,
        status=dice.choice([*Status][2:]),
        late=dice.choice([None, False, False, True]),
        retryable=dice.random() < 0.5,
        by=dice.randrange(4),
    )


def any_heartbeat(dice: Random) -> Heartbeat:
    return Heartbeat(any_place(dice), dice.random() < 0.1, dice.randrange(4))


def any_release(dice: Random) -> Release:
    return Release(any_place(dice), dice.random() < 0.1, dice.randrange(4))


def any_decision(dice: Random) -> Decide:
    return Decide(
        place=any_place(dice),
        verdict=dice.choice([Verdict.APPROVED, Verdict.APPROVED, Verdict.REJECTED]),
        by=dice.randrange(4),
        shown=dice.choice(["", "", "", "", "0" * 64]),
    )


def any_find(dice: Random) -> Find:
    return Find(dice.choice([UNKNOWN, *[any_place(dice)] * 9]))


def any_place(dice: Random) -> int:
    return dice.randrange(12)


def any_act(dice: Random) -> Act | None:
    return dice.choice(
        [
            None,
            Wait(dice.choice([1, 10, 100, 700])),
            Sweep(),
            Requeue(any_place(dice)),
            Limit(
                agent=dice.choice(["dev_agent", "ops_agent"]),
                active=dice.random() < 0.7,
                paused=dice.random() < 0.1,
                most=dice.choice([None, 1, 2]),
            ),
            Tighten() if dice.random() < 0.2 else Wait(1),
            Tamper(any_place(dice)),
        ]
    )


OPERATIONS: list[Callable[[Random], Operation]] = [
    any_create,
    any_create,
    any_publish,
    any_find,
    any_claim,
    any_claim,
    any_report,
    any_report,
    any_heartbeat,
    any_release,
    any_decision,
    any_decision,
]
Rounds = list[tuple[Act | None, list[Operation]]]


def any_rounds(dice: Random) -> Rounds:
    """Return what happens, round by round: something, and then what arrives together."""
    rounds: Rounds = [(None, [any_create(dice) for _ in range(8)])]
    for _ in range(dice.randint(2, 6)):
        met = [dice.choice(OPERATIONS)(dice) for _ in range(dice.choice([2, 4, 8, 12]))]
        rounds.append((any_act(dice), met))
    return rounds
