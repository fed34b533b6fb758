"""A key counts as whoever is behind it: what it asks, decides and mints is theirs."""

import dataclasses
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone

from approvals_app.errors import MayNotDecide
from approvals_app.models import Approval, ApprovalPolicy
from approvals_app.services import separation
from events_app.models import Event
from orchestrator_site.access import services
from orchestrator_site.auth import tokens
from orchestrator_site.auth.authentication import authenticate_headers
from orchestrator_site.core.actors import SYSTEM, Actor, Assurance, Door, Role
from orchestrator_site.infra import cached_rows
from orchestrator_site.models import ApiKey
from tasks_app.models import Status, Task
from tasks_app.services import claims, leases, lifecycle
from tests.conftest import token
from tests.support import decisions

pytestmark = pytest.mark.django_db
Make = Callable[..., Task]
MODES = ["four-eyes", "strict"]


@pytest.fixture(params=MODES, autouse=True)
def mode(request: Any, settings: Any) -> str:
    settings.ORCHESTRATOR_APPROVAL_MODE = request.param
    return str(request.param)


def account(name: str, group: str | None = "Approvers") -> Actor:
    """Make a console account and return it at the console."""
    user = User.objects.create_user(name, is_staff=True, is_superuser=group is None)
    if group:
        user.groups.add(Group.objects.get(name=group))
    role = {"Approvers": Role.AGENT, None: Role.ADMIN}.get(group, Role.USER)
    return Actor(name, role, Door.CONSOLE, Assurance.HUMAN, f"account:{name}")


def key_of(name: str, by: Actor = SYSTEM, role: str = "agent") -> Actor:
    """Make a key and return who uses it."""
    return authenticate_headers(
        {"x-api-key": services.create_api_key(name=name, role=role, by=by, now=timezone.now())[1]}
    )


def minted(by: Actor, name: str) -> Actor:
    """Return who uses a token that a key got for a name."""
    text = tokens.mint(sub=name, role="agent", now=timezone.now(), key=by.key)
    return authenticate_headers({"authorization": f"Bearer {text}"})


def decide(make_task: Make, *, asks: Actor, decides: Actor) -> Approval:
    approval_id = make_task(priority="P0", by=asks).approval_id
    return decisions.approve(approval_id=approval_id, by=decides, now=timezone.now())


def refused(make_task: Make, *, asks: Actor, decides: Actor) -> bool:
    with pytest.raises(MayNotDecide):
        decide(make_task, asks=asks, decides=decides)
    return Approval.objects.get().status == "pending"


def test_an_admin_key_does_not_decide_what_a_token_it_got_asks_for(make_task: Make) -> None:
    root = key_of("root-key", role="admin")

    assert refused(make_task, asks=minted(root, "ghost"), decides=root)


def test_an_account_does_not_decide_what_a_key_it_made_asks_for(make_task: Make) -> None:
    anna = account("anna")

    assert refused(make_task, asks=key_of("helper-bot", by=anna), decides=anna)


def test_an_account_does_not_decide_what_a_token_of_its_key_asks_for(make_task: Make) -> None:
    anna = account("anna", group=None)

    assert refused(
        make_task, asks=minted(key_of("helper-bot", by=anna, role="admin"), "ghost"), decides=anna
    )


def test_a_key_does_not_decide_what_its_maker_asks_for(make_task: Make) -> None:
    anna = account("anna")

    assert refused(make_task, asks=anna, decides=key_of("helper-bot", by=anna))


def test_two_keys_of_one_maker_do_not_sign_for_each_other(make_task: Make) -> None:
    anna = account("anna")

    assert refused(make_task, asks=key_of("bot-1", by=anna), decides=key_of("bot-2", by=anna))


def test_a_person_is_one_however_the_name_is_spelled(make_task: Make) -> None:
    alice = account("Alice")

    assert refused(
        make_task,
        asks=authenticate_headers({"authorization": f"Bearer {token(name='alice')}"}),
        decides=alice,
    )


def test_a_key_of_an_account_that_may_not_decide_decides_nothing(make_task: Make) -> None:
    helper = key_of("helper-bot", by=account("olga", "Operators"))

    assert refused(make_task, asks=key_of("dev-agent-7"), decides=helper)


def test_a_key_of_an_account_that_is_gone_decides_nothing(make_task: Make) -> None:
    helper = key_of("helper-bot", by=account("anna"))
    User.objects.filter(username="anna").delete()

    assert refused(make_task, asks=key_of("dev-agent-7"), decides=helper)


def test_keys_of_different_makers_sign_for_each_other(make_task: Make) -> None:
    asks, decides = key_of("bot-1", by=account("anna")), key_of("bot-2", by=account("bert"))

    assert decide(make_task, asks=asks, decides=decides).decided_by == "bot-2"


def test_keys_that_nobody_made_count_as_their_names(make_task: Make) -> None:
    assert decide(make_task, asks=key_of("bot-1"), decides=key_of("bot-2")).decided_by == "bot-2"


def test_a_holder_counts_as_whoever_made_its_key(make_task: Make) -> None:
    anna = account("anna")
    key_of("helper-bot", by=anna)
    task = make_task(priority="P0")
    Task.objects.filter(pk=task.pk).update(holder="helper-bot")

    with pytest.raises(MayNotDecide):
        decisions.approve(approval_id=task.approval_id, by=anna, now=timezone.now())


def may_not_decide(task: Task, *, decides: Actor) -> bool:
    """Return whether somebody is barred from deciding what a task asks for, by either verdict."""
    task.refresh_from_db()
    assert task.approval_id
    for decision in (decisions.approve, decisions.reject):
        with pytest.raises(MayNotDecide, match="asked for, hold or last edited"):
            decision(approval_id=task.approval_id, by=decides, now=timezone.now())
    return bool(separation.refusals([(Approval.objects.get(), decides)]))


def ask_for(task: Task) -> None:
    """Have a policy that came later ask for sign-off on a task that waits in its queue."""
    ApprovalPolicy.objects.create(name="Freeze", reason="Freeze.")
    cached_rows.forget_all()
    assert not claims.claim(agent=task.assigned_agent, by=key_of("bot-9"), now=timezone.now())


def test_who_a_minted_creator_counts_as_does_not_decide_what_is_asked_later(
    make_task: Make,
) -> None:
    anna = account("anna", group=None)
    task = make_task(by=minted(key_of("helper-bot", by=anna, role="admin"), "ghost"))
    ask_for(task)

    assert may_not_decide(task, decides=anna)


def test_who_a_minted_last_editor_counts_as_does_not_decide(make_task: Make) -> None:
    anna = account("anna", group=None)
    ghost = minted(key_of("helper-bot", by=anna, role="admin"), "ghost")
    task, now = make_task(), timezone.now()
    [held] = claims.claim(agent=task.assigned_agent, by=ghost, now=now)
    leases.release(task_id=held.task_id, attempt=held.attempt, by=ghost, now=now)
    ask_for(task)

    assert may_not_decide(task, decides=anna)


def test_who_a_minted_holder_counts_as_does_not_decide(make_task: Make) -> None:
    root = key_of("root-key", role="admin")
    task = make_task()
    claims.claim(agent=task.assigned_agent, by=minted(root, "ghost"), now=timezone.now())
    asked = make_task(priority="P0")
    Task.objects.filter(pk=task.pk).update(
        approval_id=asked.approval_id, reported_by="", reporter_credential=""
    )
    Approval.objects.update(task_id=task.task_id)

    assert may_not_decide(task, decides=root)


def test_who_held_a_task_before_may_decide(make_task: Make) -> None:
    anna, bert = account("anna", group=None), account("bert", group=None)
    ghost, spirit = (
        minted(key_of(f"bot-of-{by.name}", by=by, role="admin"), name)
        for by, name in ((anna, "ghost"), (bert, "spirit"))
    )
    task, now = make_task(), timezone.now()
    for holder in (ghost, spirit):
        [held] = claims.claim(agent=task.assigned_agent, by=holder, now=now)
        leases.release(task_id=held.task_id, attempt=held.attempt, by=holder, now=now)
    ask_for(task)

    assert may_not_decide(task, decides=bert)
    approval = decisions.approve(approval_id=task.approval_id, by=anna, now=timezone.now())
    assert approval.decided_by == "anna"


@pytest.mark.parametrize("end", ["complete", "fail", "release", "lose"])
def test_nothing_of_a_holder_is_left_when_the_task_is_held_no_more(
    make_task: Make, end: str
) -> None:
    ghost = minted(key_of("root-key", role="admin"), "ghost")
    task, now = make_task(), timezone.now()
    [held] = claims.claim(agent=task.assigned_agent, by=ghost, now=now)
    assert held.holder_credential == held.reporter_credential == ghost.credential
    facts: dict[str, Any] = {"task_id": held.task_id, "attempt": held.attempt, "by": ghost}

    if end == "release":
        leases.release(**facts, now=now)
    elif end == "lose":
        leases.requeue_lost_leases(now=now + timedelta(hours=1))
    else:
        status = Status.COMPLETED if end == "complete" else Status.FAILED
        lifecycle.report_status(**facts, status=status, now=now)

    task.refresh_from_db()
    assert (task.holder, task.holder_credential) == ("", "")
    assert task.reporter_credential == ("" if end == "lose" else ghost.credential)


def test_the_person_behind_a_revoked_key_is_still_known(make_task: Make) -> None:
    anna = account("anna")
    helper = key_of("helper-bot", by=anna)
    services.revoke_api_key(prefix=ApiKey.objects.get().prefix, by=SYSTEM, now=timezone.now())

    assert refused(make_task, asks=helper, decides=anna)


def test_in_guide_mode_nothing_of_this_is_asked(make_task: Make, settings: Any) -> None:
    settings.ORCHESTRATOR_APPROVAL_MODE = "guide"
    root = key_of("root-key", role="admin", by=account("olga", "Operators"))

    assert decide(make_task, asks=root, decides=root).decided_by == "root-key"


def test_of_no_requests_nothing_is_asked(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert separation.refusals([]) == {}


def test_a_flood_of_refusals_leaves_one_record(make_task: Make, now: datetime) -> None:
    bot = key_of("bot-1")
    approval_id = make_task(priority="P0", by=bot).approval_id

    for by in (bot, bot, bot, dataclasses.replace(bot, name="BOT-1")):
        with pytest.raises(MayNotDecide):
            decisions.approve(approval_id=approval_id, by=by, now=now)
    with pytest.raises(MayNotDecide):
        decisions.reject(approval_id=approval_id, by=bot, now=now)

    told = Event.objects.filter(event_type="approval.decision_refused").order_by("pk")
    assert [event.payload["wanted"] for event in told] == ["approved", "rejected"]
