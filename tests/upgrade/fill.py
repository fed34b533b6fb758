"""Put rows into every table of an older service, by its own API. Run by `make.py` in that service's
shell.

Prints as JSON what the tests need to know: names, secrets, and the answers of that day.
"""

import io
import json
import time

import jwt
from django.apps import apps
from django.conf import settings
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.test import Client

from orchestrator_site.models import Principal

HOOK = "http://127.0.0.1:9/hook"  # nobody is there: the message waits for the next version
PASSWORD = "an-old-password-9"


def call(method, path, body=None, name="dev-agent-1", role="agent", **headers):
    """Send a request as somebody; return the answer, which must be a 200."""
    now = int(time.time())
    claims = {"sub": name, "role": role, "iat": now, "exp": now + 3600}
    token = jwt.encode(claims, settings.ORCHESTRATOR_JWT_SECRET, algorithm="HS256")
    headers |= {"Host": "localhost", "Authorization": f"Bearer {token}"}
    data = json.dumps(body) if body is not None else ""
    answer = Client().generic(
        method, path, data, "application/json" if data else "", headers=headers
    )
    assert answer.status_code == 200, (path, answer.content)
    return answer.json()


def create(type, priority="P2", **more):
    """Create a task; return its id."""
    return call(
        "POST", "/tasks", {"type": type, "payload": {"n": 1}, "priority": priority, **more}
    )["task_id"]


def report(task_id, **report):
    call("PATCH", f"/tasks/{task_id}/status", report)


def approval_of(task_id):
    return call("GET", f"/tasks/{task_id}")["task"]["approval"]["approval_id"]


def fill_tasks():
    """Create tasks in every state; return their ids by what became of them."""
    done, failed, cancelled = (create("bugfix") for _ in range(3))
    report(done, status="in_progress")
    report(done, status="completed", result={"pull_request": 77})
    report(failed, status="failed", error="No such branch.")
    call("POST", f"/tasks/{cancelled}/cancel?reason=Not+needed")
    gated, granted, refused = (create("deployment", "P0", sla_target=86_400) for _ in range(3))
    call("POST", f"/approvals/{approval_of(granted)}/approve?reason=Looks+good", name="alice")
    call("POST", f"/approvals/{approval_of(refused)}/reject?reason=Too+late", name="alice")
    held = create("monitoring")
    call(
        "POST",
        "/tasks/claim",
        {"agent": "ops_agent", "types": ["monitoring"], "lease_seconds": 5},
        "ops-agent-1",
    )
    call("POST", f"/tasks/{held}/heartbeat", {"attempt": 1, "progress": 40}, "ops-agent-1")
    waiting = create("bugfix", **{"metadata": {"branch": "main"}})
    call("POST", "/tasks", {"type": "faq_update", "payload": {}}, **{"Idempotency-Key": "key-1"})
    return {
        "done": done,
        "failed": failed,
        "cancelled": cancelled,
        "gated": gated,
        "granted": granted,
        "refused": refused,
        "held": held,
        "waiting": waiting,
        "dependent": create("bugfix", depends_on=[waiting]),
    }


def fill_events():
    """Make a consumer that has acknowledged one event of two, and a webhook with a message on its
    way.
    """
    hook = {"url": HOOK, "types": ["demo.*"]}
    secret = call("POST", "/events/subscriptions", hook, "root-1", "admin")["secret"]
    news = {"event_type": "demo.news", "source_agent": "dev_agent", "payload": {"n": 1}}
    sent = [call("POST", "/events/publish", news)["event_id"] for _ in range(3)]
    reader = {"name": "reader", "types": ["demo.news"], "start": "beginning", "ack_seconds": 5}
    call("POST", "/events/consumers", reader)
    call("POST", "/events/consumers/reader/fetch", {"limit": 2})
    call("POST", "/events/consumers/reader/ack", {"event_ids": sent[:1]})
    call_command("deliver_webhooks", stdout=io.StringIO())
    return {"secret": secret, "events": sent}


def fill_accounts():
    """Make the accounts, keys and traces of the console; return the API key."""
    admin = User.objects.create_superuser("admin", password=PASSWORD)
    admin.groups.set(Group.objects.all())
    admin.user_permissions.set(Permission.objects.all()[:1])
    assert Client().login(username="admin", password=PASSWORD)
    LogEntry.objects.create(
        user=admin,
        content_type=ContentType.objects.get_for_model(User),
        object_id=str(admin.pk),
        object_repr="admin",
        action_flag=CHANGE,
        change_message="",
    )
    Principal.objects.create(name="mallory-1", disabled=True, note="Left.")
    output = io.StringIO()
    call_command("create_api_key", "--name", "dev-agent-2", "--json", stdout=output)
    return json.loads(output.getvalue())["api_key"]


def main():
    tasks, events, key = fill_tasks(), fill_events(), fill_accounts()
    ended = [tasks[name] for name in ("done", "failed", "cancelled", "refused")]
    decided = [approval_of(tasks[name]) for name in ("granted", "refused")]
    pages = [
        *(f"/tasks/{task}" for task in ended),
        *(f"/approvals/{approval}" for approval in decided),
        f"/tasks/{tasks['done']}/timeline",
        "/events?types=demo.news",
    ]
    empty = [
        model._meta.db_table
        for model in apps.get_models(include_auto_created=True)
        if not model._default_manager.exists()
    ]
    assert not empty, empty
    facts = {
        "hook": HOOK,
        "password": PASSWORD,
        "api_key": key,
        "tasks": tasks,
        "approval": approval_of(tasks["gated"]),
        **events,
        "answers": {page: call("GET", page, role="admin") for page in pages},
    }
    print(json.dumps(facts, indent=1))


main()
