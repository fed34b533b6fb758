"""What is answered on the event loop looks like what a thread answers, and many share a commit."""

import http.client
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from tests.support.live import LiveServer
from tests.support.racing import until
from tests.support.runs import ROOT

TASK = {"type": "bugfix", "payload": {"issue": "1"}}
Answer = tuple[int, dict[str, str], Any]


def ask(server: LiveServer, method: str, path: str, body: object = None, **headers: str) -> Answer:
    """Return the status, the headers and the content of an answer."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {"X-API-Key": server.api_key, "Content-Type": "application/json"} | named
    connection.request(method, path, json.dumps(body) if body is not None else None, sent)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    names = {name.lower(): value for name, value in answer.getheaders()}
    return answer.status, names, json.loads(text) if text else None


def test_answers_of_the_loop_have_the_headers_of_the_others(server: LiveServer) -> None:
    status, _, created = ask(server, "POST", "/tasks", TASK)
    assert status == 200

    _, on_loop, _ = ask(server, "GET", f"/tasks/{created['task_id']}")
    _, in_thread, _ = ask(server, "GET", "/tasks")

    assert on_loop.keys() == in_thread.keys()
    differ = {"content-length", "allow", "date"} | {name for name in on_loop if "rate" in name}
    assert {name: on_loop[name] for name in on_loop.keys() - differ} == {
        name: in_thread[name] for name in in_thread.keys() - differ
    }
    assert (on_loop["allow"], in_thread["allow"]) == ("GET, HEAD", "GET, POST, HEAD")


def test_a_foreign_host_is_refused_on_the_loop_too(server: LiveServer) -> None:
    status, headers, answer = ask(server, "POST", "/tasks", TASK, Host="elsewhere.example")

    assert (status, answer) == (400, {"detail": "The Host header does not name this service."})
    assert "x-ratelimit-limit" in headers


def test_head_is_get_without_its_body(server: LiveServer) -> None:
    _, _, created = ask(server, "POST", "/tasks", TASK)
    path = f"/tasks/{created['task_id']}"

    status, headers, body = ask(server, "HEAD", path)

    assert (status, body) == (200, None)
    assert headers.keys() == ask(server, "GET", path)[1].keys()


def test_refusals_on_the_loop_are_those_of_the_api(server: LiveServer) -> None:
    unknown, _, answer = ask(server, "GET", "/tasks/task_none")
    assert (unknown, answer["detail"]) == (404, "There is no task task_none.")
    nobody, headers, _ = ask(server, "POST", "/tasks", TASK, X_API_Key="wrong")
    assert (nobody, "www-authenticate" in headers) == (401, True)
    bad, _, answer = ask(server, "POST", "/tasks", {"type": 7})
    assert bad == 400 and "payload" in answer["errors"]


def test_of_many_at_once_each_gets_its_own_task(server: LiveServer) -> None:
    def create(number: int) -> Any:
        kind = "nobody" if number % 10 == 0 else "bugfix"
        return ask(server, "POST", "/tasks", {"type": kind, "payload": {"number": number}})

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(create, range(100)))

    for number, (status, _, answer) in enumerate(answers):
        assert status == (400 if number % 10 == 0 else 200)
        if status == 200:
            assert answer["task"]["payload"] == {"number": number}
    assert len({answer["task_id"] for status, _, answer in answers if status == 200}) == 90


def test_one_key_sent_twenty_times_at_once_makes_one_task(server: LiveServer) -> None:
    def create(_: int) -> Any:
        return ask(server, "POST", "/tasks", TASK, Idempotency_Key="twenty")[2]["task_id"]

    with ThreadPoolExecutor(20) as threads:
        assert len(set(threads.map(create, range(20)))) == 1


def test_a_key_of_the_database_counts_on_the_loop_until_it_is_revoked(server: LiveServer) -> None:
    made = manage(server, "create_api_key", "--name", "late-agent", "--json")
    key = json.loads(made)

    status, _, created = ask(server, "POST", "/tasks", TASK, X_API_Key=key["api_key"])
    assert status == 200
    path = f"/tasks/{created['task_id']}"
    assert ask(server, "GET", path, X_API_Key=key["api_key"])[0] == 200

    manage(server, "revoke_api_key", key["prefix"])  # another process: a second may pass
    assert until(lambda: ask(server, "GET", path, X_API_Key=key["api_key"])[0] == 401, seconds=1.5)


def manage(server: LiveServer, *arguments: str) -> str:
    """Return what a command prints that speaks to the same database."""
    command = [sys.executable, "manage.py", *arguments]
    settings = os.environ | server.environment
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_of_twenty_at_once_who_decide_one_request_one_wins(server: LiveServer) -> None:
    _, _, created = ask(server, "POST", "/tasks", {**TASK, "priority": "P0"})
    path = f"/approvals/{created['task']['approval']['approval_id']}"

    def decide(number: int) -> Any:
        return ask(server, "POST", f"{path}/{'reject' if number % 2 else 'approve'}")

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(decide, range(20)))

    said = [content for status, _, content in answers if status == 200]
    assert (
        len(said) == 10 and [content.get("repeated", False) for content in said].count(False) == 1
    )
    assert [status for status, _, _ in answers].count(409) == 10
    outcome = ask(server, "GET", path)[2]["approval"]
    assert {content["message"] for content in said} == {
        f"{outcome['status'].capitalize()} by {outcome['decided_by']}"
    }
