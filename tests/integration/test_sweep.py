"""`manage.py sweep`: the sweeps of the beat schedule, by name or all."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

SWEEPS = {
    "check_slas",
    "deliver_webhooks",
    "expire_approvals",
    "notice_silence",
    "requeue_lost_leases",
    "route_pending",
    "settle_dependents",
}


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("sweep", *words, stdout=out)
    return out.getvalue().removesuffix("\n")


def test_named_sweeps_say_what_they_counted(make_task: Callable[..., Any]) -> None:
    make_task(sla_target=1)

    said = run("check_slas", "route_pending")

    assert said == "1 SLA warning(s) and 1 violation(s) recorded\n0 task(s) routed"


@pytest.mark.django_db
def test_all_runs_every_sweep_of_the_schedule() -> None:
    assert set(json.loads(run("--all", "--json"))) == SWEEPS


@pytest.mark.parametrize("words", [[], ["no_such_sweep"], ["prune_events"]])
def test_what_is_no_sweep_is_refused_with_their_names(db: None, words: list[str]) -> None:
    with pytest.raises(CommandError, match=r"The sweeps are: .*check_slas"):
        run(*words)
