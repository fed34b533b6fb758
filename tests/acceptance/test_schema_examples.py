"""What `/docs` offers to try out works as it stands."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from approvals_app.models import Approval
from orchestrator_site.views.docs import openapi_document
from tasks_app.models import Task

DOCUMENT = json.loads(openapi_document())
EXAMPLES = {
    (path, method): body["content"]["application/json"]["examples"]["Example"]["value"]
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if "examples"
    in (body := operation.get("requestBody", {})).get("content", {}).get("application/json", {})
}


def test_the_main_operations_have_an_example() -> None:
    wanted = {
        ("/tasks", "post"),
        ("/tasks/claim", "post"),
        ("/tasks/{task_id}/status", "patch"),
        ("/approvals/{approval_id}/approve", "post"),
        ("/approvals/{approval_id}/reject", "post"),
        ("/events/publish", "post"),
        ("/events/subscriptions", "post"),
        ("/auth/token", "post"),
    }
    assert wanted <= set(EXAMPLES)


@pytest.mark.parametrize(("path", "method"), EXAMPLES, ids=lambda part: part)
def test_an_example_is_taken_as_it_stands(
    path: str, method: str, api: Callable[..., Any], make_task: Callable[..., Task]
) -> None:
    task = make_task(priority="P0" if "approval" in path else "P2", type="bugfix")
    known = {"task_id": task.task_id, "name": "dev_agent", "task_type": "bugfix"}
    if approval := Approval.objects.first():
        known["approval_id"] = approval.approval_id
    if "consumers" in path:
        known["name"] = "release-bot"
        api("agent").post("/events/consumers", EXAMPLES["/events/consumers", "post"])

    answer = api("admin").send(method.upper(), path.format(**known), EXAMPLES[path, method])

    assert answer.status_code == 200, answer.content


def test_docs_keep_the_credential_and_can_be_searched(db: None) -> None:
    settings = Client().get("/docs?script").content.decode()

    for word in ("persistAuthorization", "tryItOutEnabled", "filter"):
        assert f'"{word}": true' in settings
    assert "(/admin/)" in DOCUMENT["info"]["description"]
