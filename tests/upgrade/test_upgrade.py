"""A database of an older version, with rows in every table, under today's code.

The fixtures beside this file were made by `make.py` from the last commit before the first review
(ae3099b).
"""

import json
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from standardwebhooks import Webhook

from events_app.rules import position_of
from tests.support.live import LiveServer, live_server
from tests.support.receivers import Receiver

HERE = Path(__file__).parent
STORE = "postgres" if os.environ.get("DATABASE_URL") else "sqlite"
SQL = (HERE / f"{STORE}.sql").read_text(encoding="utf-8")
OLD: dict[str, Any] = json.loads((HERE / f"{STORE}.json").read_text(encoding="utf-8"))
TASKS: dict[str, str] = OLD["tasks"]
# The old version numbered events after their commit, and was stopped before the last had its turn.
LATE = """;
    UPDATE events_app_event SET position = NULL
        WHERE position = (SELECT head FROM events_app_ledger);
    UPDATE events_app_ledger SET head = head - 1;
"""
SETTINGS = {
    "ORCHESTRATOR_WEBHOOK_ALLOW_NETS": "127.0.0.0/8",
    "ORCHESTRATOR_SWEEP_SECONDS": "1",
}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Where the old subscription's messages go."""
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def server(receiver: Receiver) -> Iterator[LiveServer]:
    """Today's service, started on the old database."""

    def load(environment: dict[str, str]) -> None:
        sql = SQL.replace(OLD["hook"], receiver.url) + LATE
        if url := environment.get("DATABASE_URL"):
            with psycopg.connect(url) as postgres:
                postgres.execute(sql.encode())
            return
        with sqlite3.connect(Path(environment["DATA_DIR"], "orchestrator.sqlite3")) as database:
            database.executescript(sql)

    with live_server(load, **SETTINGS) as running:
        yield running


def call(
    server: LiveServer,
    method: str,
    path: str,
    body: Any = None,
    role: str = "agent",
    name: str = "dev-agent-1",
) -> Any:
    """Send a request as somebody; return the answer, which must be a 200."""
    headers = {"Authorization": f"Bearer {server.token(role, name)}"}
    answer = requests.request(method, server.url + path, json=body, headers=headers, timeout=60)
    assert answer.status_code == 200, (path, answer.text)
    return answer.json()


def lacking(old: Any, new: Any, path: str = "") -> list[str]:
    """Return where a new answer lacks or changes what the old one said."""
    if isinstance(old, dict) and isinstance(new, dict):
        parts = [
            lacking(value, new.get(key), f"{path}.{key}")
            for key, value in old.items()
            if key != "cursor"  # opaque: it may look otherwise, as long as the old one is taken
        ]
        return [fault for faults in parts for fault in faults]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        parts = [lacking(*pair, f"{path}[]") for pair in zip(old, new, strict=True)]
        return [fault for faults in parts for fault in faults]
    if path.endswith((".cursor", ".next")) and old and new:  # opaque: they must name one position
        old, new = position_of(old), position_of(new)
    return [] if old == new else [f"{path} was {old!r}, is {new!r}"]


def test_the_fixture_has_rows_in_every_table() -> None:
    tables = set(re.findall(r'^CREATE TABLE "?(?:public\.)?(\w+)', SQL, re.MULTILINE))
    filled = set(re.findall(r'^INSERT INTO "?(?:public\.)?(\w+)', SQL, re.MULTILINE))

    assert len(tables) > 20
    assert tables - filled == set()


@pytest.mark.parametrize("page", OLD["answers"])
def test_an_old_answer_still_holds(server: LiveServer, page: str) -> None:
    assert lacking(OLD["answers"][page], call(server, "GET", page, role="admin")) == []


def test_an_old_cursor_goes_on_where_it_stood(server: LiveServer) -> None:
    first, *others = OLD["answers"]["/events?types=demo.news"]["events"]
    path = f"/events?types=demo.news&after={first['cursor']}"

    events = call(server, "GET", path, role="admin")["events"]

    assert [event["event_id"] for event in events] == [event["event_id"] for event in others]


def test_an_old_cursor_is_still_taken(server: LiveServer) -> None:
    page = "/events?types=demo.news"
    first, *rest = OLD["answers"][page]["events"]

    events = call(server, "GET", f"{page}&limit=2&after={first['cursor']}")["events"]

    assert [event["event_id"] for event in events] == [event["event_id"] for event in rest]


def test_waiting_tasks_are_claimed_and_free_those_that_depend_on_them(server: LiveServer) -> None:
    claim = {"agent": "dev_agent", "types": ["bugfix"], "wait_seconds": 30}
    [waiting] = call(server, "POST", "/tasks/claim", claim)["tasks"]
    body = {"status": "completed", "attempt": waiting["attempt"]}
    call(server, "PATCH", f"/tasks/{waiting['task_id']}/status", body)
    [dependent] = call(server, "POST", "/tasks/claim", claim)["tasks"]

    assert waiting["task_id"] == TASKS["waiting"]
    assert dependent["task_id"] == TASKS["dependent"]


def test_a_lease_of_the_old_version_runs_out_as_any_other(server: LiveServer) -> None:
    claim = {"agent": "ops_agent", "types": ["monitoring"], "wait_seconds": 30}

    [task] = call(server, "POST", "/tasks/claim", claim, name="ops-agent-1")["tasks"]

    assert (task["task_id"], task["attempt"]) == (TASKS["held"], 2)


def test_an_old_request_is_approved_and_its_task_starts(server: LiveServer) -> None:
    path = f"/tasks/{TASKS['gated']}/status?status=in_progress"
    headers = {"Authorization": f"Bearer {server.token(name='ops-agent-1')}"}
    before = requests.patch(server.url + path, headers=headers, timeout=30)
    call(server, "POST", f"/approvals/{OLD['approval']}/approve", name="alice-1")

    assert before.status_code == 409
    assert call(server, "PATCH", path, name="ops-agent-1")["status"] == "in_progress"


def test_what_the_old_version_approved_starts(server: LiveServer) -> None:
    path = f"/tasks/{TASKS['granted']}/status?status=in_progress"

    assert call(server, "PATCH", path, name="ops-agent-1")["status"] == "in_progress"


def test_a_consumer_goes_on_at_its_old_place(server: LiveServer) -> None:
    events = call(server, "POST", "/events/consumers/reader/fetch", {"limit": 10})["events"]

    _, unfinished, new = OLD["events"]
    assert [(event["event_id"], event["delivery"]) for event in events] == [
        (unfinished, 2),
        (new, 1),
    ]


def test_a_webhook_delivers_what_was_on_its_way_and_what_is_new(
    server: LiveServer, receiver: Receiver
) -> None:
    news = {"event_type": "demo.news", "source_agent": "dev_agent"}
    new = call(server, "POST", "/events/publish", news)["event_id"]
    receiver.wait_for({*OLD["events"], new})

    for message in receiver.requests:
        Webhook(OLD["secret"]).verify(message.body, message.headers)


def test_an_old_key_is_taken_and_an_account_that_was_disabled_is_not(server: LiveServer) -> None:
    path = f"{server.url}/tasks/{TASKS['done']}"
    by_key = requests.get(path, headers={"X-API-Key": OLD["api_key"]}, timeout=30)
    disabled = {"Authorization": f"Bearer {server.token(name='mallory-1')}"}

    assert by_key.status_code == 200
    assert requests.get(path, headers=disabled, timeout=30).status_code == 401


def test_every_page_of_the_console_opens_for_the_old_account(server: LiveServer) -> None:
    browser = requests.Session()
    browser.get(f"{server.url}/admin/login/", timeout=30)
    form = {
        "username": "admin",
        "password": OLD["password"],
        "csrfmiddlewaretoken": browser.cookies["csrftoken"],
    }
    home = browser.post(
        f"{server.url}/admin/login/?next=/admin/", form, headers={"Referer": server.url}, timeout=30
    )
    lists = set(re.findall(r'href="(/admin/\w+/\w+/)"', home.text))
    rows = {
        path
        for page in lists
        for path in re.findall(
            rf'href="({page}[^"/?]+/change/)', browser.get(server.url + page, timeout=30).text
        )
    }

    assert len(lists) >= 10
    assert len(rows) >= 20
    opened = {
        page: browser.get(server.url + page, timeout=30).status_code for page in {*lists, *rows}
    }
    assert set(opened.values()) == {200}, opened
