"""Claims that wait, as the event loop's adapter carries them out."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from orchestrator_site.api.long_poll import SCOPE_KEY, Ask, Continuation, Wait
from orchestrator_site.infra import cached_rows
from orchestrator_site.infra.group_commit import Inline, Work
from orchestrator_site.models import Principal
from orchestrator_site.server.wsgi_adapter import Answer
from tasks_app.models import Task
from tests.conftest import token
from tests.support.on_loop import posted

pytestmark = pytest.mark.django_db
ASKED = {"agent": "dev_agent", "wait_seconds": 20}


class InTurn(Inline):
    """Carries out what comes later once it begins, in place."""

    def write_later(self, work: Work, make: Callable[[], Any]) -> tuple[Awaitable[Any], Any]:
        async def outcome() -> Any:
            return await self.write(work, make())

        return outcome(), lambda: None


def claim(attend: Callable[[Wait, Ask], Awaitable[Any]], body: dict[str, Any] = ASKED) -> Answer:
    """Return the answer to a claim. attend: what becomes of it while it waits."""
    waits = {SCOPE_KEY: Continuation(attend)}
    return posted("/tasks/claim", body, token(name="patient"), InTurn(), **waits)


def test_who_is_disabled_while_waiting_is_handed_nothing(make_task: Callable[..., Task]) -> None:
    async def attend(wait: Wait, ask: Ask) -> Any:
        task = make_task()
        Principal.objects.create(name="patient", disabled=True)
        cached_rows.forget_all()
        attempt, begin = ask()
        begin()
        with pytest.raises(Exception, match="disabled") as refused:
            await attempt
        task.refresh_from_db()
        assert (task.status, task.holder) == ("assigned", "")
        raise refused.value

    answer = claim(attend)

    assert answer.status == 401
    assert json.loads(answer.body)["detail"] == "This principal is disabled."


def test_who_waits_in_vain_is_answered_with_nothing() -> None:
    async def attend(wait: Wait, ask: Ask) -> Any:
        assert wait.seconds == 20 and wait.topics == {"tasks:dev_agent"}
        attempt, begin = ask()
        begin()
        found = await attempt
        assert not found and wait.due(found) is None
        return None  # the time is over

    answer = claim(attend)

    assert (answer.status, json.loads(answer.body)["tasks"]) == (200, [])


def test_who_waits_is_handed_what_comes(make_task: Callable[..., Task]) -> None:
    async def attend(wait: Wait, ask: Ask) -> Any:
        task = make_task()
        attempt, begin = ask()
        begin()
        found = await attempt
        assert [row.task.task_id for row in found] == [task.task_id]
        return found

    answer = claim(attend)

    assert [task["holder"] for task in json.loads(answer.body)["tasks"]] == ["patient"]
