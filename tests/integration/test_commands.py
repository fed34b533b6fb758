"""The management commands: what they do, what they say, and how they refuse."""

import io
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command, get_commands, load_command_class
from django.utils import timezone

from approvals_app.models import Approval, ApprovalPolicy
from events_app.models import Event
from tasks_app.models import Agent, Status, Task
from tasks_app.services import claims, lifecycle

Make = Callable[..., Task]
OURS = sorted(
    name
    for name, app in get_commands().items()
    if app in ("tasks_app", "approvals_app", "events_app") and not name.startswith("_")
)


def run(*words: str) -> str:
    """Run a command as a shell would; return what it printed, without the last line break."""
    out = io.StringIO()
    call_command(*words, stdout=out)
    return out.getvalue().removesuffix("\n")


def run_json(*words: str) -> Any:
    return json.loads(run(*words, "--json"))


@pytest.fixture
def alice(db: None) -> User:
    """A staff account that may decide."""
    account = User.objects.create_user("alice", password="x", is_staff=True)
    account.user_permissions.add(Permission.objects.get(codename="decide_approval"))
    return account


@pytest.mark.parametrize("name", OURS)
def test_a_stranger_understands_the_help(name: str) -> None:
    command = load_command_class(get_commands()[name], name)

    text = command.create_parser("manage.py", name).format_help()

    assert len(command.help) > 30 and command.help.endswith(".")
    assert "--json" in text
    options = [
        action
        for action in command.create_parser("manage.py", name)._actions
        if action.dest != "help"
    ]
    assert all(action.help for action in options)


def test_check_slas_says_how_many(make_task: Make) -> None:
    make_task(sla_target=1)

    assert run("check_slas") == "1 SLA warning(s) and 1 violation(s) recorded"
    assert run_json("check_slas") == {"warnings": 0, "violations": 0}


def test_route_pending_says_how_many(make_task: Make) -> None:
    agent = Agent.objects.get(name="dev_agent")
    agent.active = False
    agent.save()
    make_task()
    agent.active = True
    agent.save()

    assert run("route_pending") == "1 task(s) routed"
    assert run_json("route_pending") == {"routed": 0}


def test_requeue_lost_leases_says_how_many(make_task: Make, dev: Any, now: Any) -> None:
    make_task()
    claims.claim(agent="dev_agent", by=dev, now=now)

    assert run("requeue_lost_leases") == "1 task(s) taken back"
    assert run_json("requeue_lost_leases") == {"taken_back": 0}


def test_notice_silence_says_how_many(db: None) -> None:
    Agent.objects.filter(name="dev_agent").update(
        silent_after=60, last_seen_at=timezone.now() - timedelta(hours=1)
    )

    assert run("notice_silence") == "1 agent(s) fell silent"
    assert run_json("notice_silence") == {"silent": 0}


def test_expire_approvals_says_how_many(make_task: Make) -> None:
    ApprovalPolicy.objects.update(expires_after=60)
    make_task(priority="P0")

    assert run("expire_approvals") == "1 request(s) expired"
    assert run_json("expire_approvals") == {"expired": 0}


def test_list_pending_shows_the_most_urgent_first(make_task: Make) -> None:
    assert run("list_pending") == "Nothing waits for a decision"
    high, critical = make_task(priority="P1"), make_task(priority="P0")

    lines = run("list_pending").splitlines()
    listed = run_json("list_pending", "--limit", "1")

    assert [line.split()[0] for line in lines] == [critical.approval_id, high.approval_id]
    assert f"{critical.task_id}  asked by dev-agent-1: P0 and P1 tasks need sign-off" in lines[0]
    assert (listed["count"], listed["approvals"][0]["approval_id"]) == (1, critical.approval_id)


@pytest.mark.parametrize(("verb", "status"), [("approve", "approved"), ("reject", "rejected")])
def test_a_decision_by_command_names_the_account(
    make_task: Make, alice: User, verb: str, status: str
) -> None:
    task = make_task(priority="P0")

    said = run(verb, task.approval_id, "--as", "alice", "--reason", "Because")

    approval = Approval.objects.get()
    assert said == f"{task.approval_id} {status} by alice"
    assert (approval.status, approval.decided_by, approval.door) == (status, "alice", "command")
    assert (approval.decider_credential, approval.decision_reason) == ("account:alice", "Because")
    assert Event.objects.get(event_type=f"approval.{status}").origin == "human"


def test_a_decision_answers_as_json(make_task: Make, alice: User) -> None:
    task = make_task(priority="P0")

    assert run_json("approve", task.approval_id, "--as", "alice") == {
        "approval_id": task.approval_id,
        "status": "approved",
        "decided_by": "alice",
    }


ACCOUNTS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({}, "There is no active staff account bob."),
    "not staff": (
        {"is_staff": False, "is_superuser": True},
        "There is no active staff account bob.",
    ),
    "switched off": (
        {"is_staff": True, "is_active": False},
        "There is no active staff account bob.",
    ),
    "without permission": (
        {"is_staff": True},
        "bob does not have the permission to decide approvals.",
    ),
}


@pytest.mark.parametrize("case", ACCOUNTS)
@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_only_a_staff_account_with_the_permission_decides(
    make_task: Make, verb: str, case: str
) -> None:
    task = make_task(priority="P0")
    flags, sentence = ACCOUNTS[case]
    if flags:
        User.objects.create_user("bob", **flags)

    with pytest.raises(CommandError, match=f"^{sentence}$"):
        run(verb, task.approval_id, "--as", "bob")

    assert Approval.objects.get().status == "pending"


def test_nobody_decides_in_nobodys_name(make_task: Make) -> None:
    with pytest.raises(CommandError, match="--as"):
        run("approve", make_task(priority="P0").approval_id)


def test_a_refused_decision_is_one_sentence(make_task: Make, alice: User, settings: Any) -> None:
    task = make_task(priority="P0")
    run("reject", task.approval_id, "--as", "alice")

    with pytest.raises(CommandError, match=f"^{task.approval_id} is already rejected by alice.$"):
        run("approve", task.approval_id, "--as", "alice")
    with pytest.raises(CommandError, match=r"^There is no approval approval_nowhere\.$"):
        run("approve", "approval_nowhere", "--as", "alice")


def test_the_approval_mode_holds_at_the_shell_too(
    make_task: Make, alice: User, settings: Any, dev: Any, now: Any
) -> None:
    settings.ORCHESTRATOR_APPROVAL_MODE = "human"
    task = make_task(priority="P0")
    Task.objects.update(created_by="alice")

    with pytest.raises(CommandError, match="Nobody decides what they asked for"):
        run("approve", task.approval_id, "--as", "alice")


def test_an_event_is_published_by_command(make_task: Make) -> None:
    task = make_task()

    answer = run_json(
        "publish_event",
        "deployment.completed",
        "--source-agent=ops_agent",
        '--payload={"service": "web"}',
        f"--task-id={task.task_id}",
        "--trace-id=trace-1",
        "--priority=P2",
    )

    event = Event.objects.get(event_type="deployment.completed")
    assert answer == {"event_id": event.event_id, "event_type": "deployment.completed"}
    assert (event.source_agent, event.source_verified, event.publisher, event.door) == (
        "ops_agent",
        False,
        "command",
        "command",
    )
    assert (event.payload, event.task_id, event.trace_id, event.priority) == (
        {"service": "web"},
        task.task_id,
        "trace-1",
        "P2",
    )


BAD_EVENTS = {
    "reserved type": ["approval.approved", "--source-agent=a"],
    "reserved source": ["pr.merged", "--source-agent=system"],
    "no type": ["", "--source-agent=a"],
    "bad type": ["A..B", "--source-agent=a"],
    "no object": ["pr.merged", "--source-agent=a", "--payload=[]"],
    "no JSON": ["pr.merged", "--source-agent=a", "--payload={"],
    "NaN": ["pr.merged", "--source-agent=a", '--payload={"a": NaN}'],
    "NUL": ["pr.merged", "--source-agent=a", '--payload={"a": "\\u0000"}'],
    "long source": ["pr.merged", "--source-agent=" + "a" * 101],
    "bad priority": ["pr.merged", "--source-agent=a", "--priority=P9"],
    "no source": ["pr.merged"],
}


@pytest.mark.parametrize("case", BAD_EVENTS)
def test_a_bad_event_is_refused_in_one_sentence(db: None, case: str) -> None:
    with pytest.raises(CommandError) as refusal:
        run("publish_event", *BAD_EVENTS[case])

    assert str(refusal.value) and "\n" not in str(refusal.value)
    assert not Event.objects.exists()


def test_pruning_is_a_dry_run_unless_told(make_task: Make, dev: Any, now: Any) -> None:
    task = make_task(now=timezone.now() - timedelta(days=40))
    lifecycle.report_status(
        task_id=task.task_id,
        status=Status.COMPLETED,
        by=dev,
        now=timezone.now() - timedelta(days=31),
    )

    said = run("prune", "--older-than-days", "30")
    younger = run_json("prune", "--older-than-days", "32", "--delete")
    still_there = Task.objects.count()
    removed = run_json("prune", "--older-than-days", "30", "--delete")

    assert said == "1 task(s) would be removed; add --delete to remove them"
    assert (younger["number"], still_there, removed["number"], removed["deleted"]) == (
        0,
        1,
        1,
        True,
    )
    assert not Task.objects.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--older-than-days", "0"],
        ["--older-than-days", "-1"],
        ["--older-than-days", "99999999"],
        [],
    ],
)
def test_pruning_needs_a_number_of_days(db: None, words: list[str]) -> None:
    with pytest.raises(CommandError, match="older-than-days"):
        run("prune", *words, "--delete")


@pytest.mark.parametrize("limit", ["0", "1001", "x"])
def test_a_list_is_bounded(db: None, limit: str) -> None:
    with pytest.raises(CommandError, match="--limit"):
        run("list_pending", "--limit", limit)


@pytest.mark.django_db
def test_deliver_webhooks_says_how_many() -> None:
    assert run("deliver_webhooks") == "0 delivery attempt(s) made"
    assert run_json("deliver_webhooks") == {"attempted": 0}
