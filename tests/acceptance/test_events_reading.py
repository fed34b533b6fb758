"""Reading the log over the API."""

import pytest

from events_app import services
from events_app.log import reading
from events_app.models import Event, Ledger
from events_app.rules import cursor


@pytest.fixture
def say(db, dev, now):
    """Publish: `say("pr.merged", task_id="task_1")`; return the event."""

    def publish(event_type: str, **said) -> Event:
        return services.publish(
            **{"event_type": event_type, "source_agent": "dev_agent"} | said, by=dev, now=now
        )

    return publish


def types(answer) -> list[str]:
    return [event["event_type"] for event in answer.json()["events"]]


def test_a_reader_goes_forward_by_next_and_misses_nothing(api, say) -> None:
    for number in range(7):
        say(f"step.n{number}")

    seen, after = [], ""
    for _ in range(4):
        page = api("user").get(f"/events?limit=3{after}")
        seen += types(page)
        after = f"&after={page.json()['next']}"
    say("step.late")
    last = api("user").get(f"/events?limit=3{after}")

    assert seen == [f"step.n{number}" for number in range(7)]
    assert types(last) == ["step.late"]


def test_an_event_shows_who_said_it_and_whose_word_it_is(api, say) -> None:
    api("agent", name="dev-agent-1").post(
        "/events/publish",
        {
            "event_type": "task.started",
            "source_agent": "ops_agent",
            "payload": {"a": 1},
            "task_id": "task_1",
            "trace_id": "trace_1",
            "priority": "P2",
        },
    )

    [event] = api("user").get("/events").json()["events"]

    assert event["publisher"] == "dev-agent-1" and event["source_agent"] == "ops_agent"
    assert event["source_verified"] is False and event["origin"] == "agent"
    assert (event["task_id"], event["trace_id"], event["priority"]) == ("task_1", "trace_1", "P2")
    assert (
        event["payload"] == {"a": 1}
        and event["created_at"].endswith("Z")
        and event["event_id"].startswith("evt_")
    )


def test_a_published_event_gets_the_trace_of_its_request(api) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    said = {"event_type": "pr.merged", "source_agent": "dev_agent"}

    api("agent").post("/events/publish", said, traceparent=f"00-{trace}-b7ad6b7169203331-01")

    assert api("user").get(f"/events?trace_id={trace}").json()["events"][0]["trace_id"] == trace


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("types=pr.merged", ["pr.merged"]),
        ("types=pr.*", ["pr.merged", "pr.opened"]),
        ("types=pr.opened,deploy.*", ["pr.opened", "deploy.done"]),
        ("types=*", ["pr.merged", "pr.opened", "deploy.done", "prx"]),
        ("task_id=task_1", ["pr.opened"]),
        ("trace_id=trace_1", ["deploy.done"]),
        ("source_agent=ops_agent", ["deploy.done"]),
        ("task_id=task_1&types=deploy.*", []),
    ],
)
def test_filters_choose(api, say, query: str, found: list[str]) -> None:
    say("pr.merged")
    say("pr.opened", task_id="task_1")
    say("deploy.done", trace_id="trace_1", source_agent="ops_agent")
    say("prx")

    assert types(api("user").get(f"/events?{query}")) == found


def test_now_gives_the_head_with_an_empty_page(api, say) -> None:
    say("pr.merged")

    head = api("user").get("/events?after=now").json()
    say("pr.opened")

    assert head["events"] == []
    assert types(api("user").get(f"/events?after={head['next']}")) == ["pr.opened"]


def test_a_place_beyond_the_head_is_refused_and_the_head_named(api, say) -> None:
    say("pr.merged")

    answer = api("user").get(f"/events?after={cursor(10**9)}")
    say("pr.opened")

    assert answer.status_code == 410
    assert types(api("user").get(f"/events?after={answer.json()['head']}")) == ["pr.opened"]


def test_a_rare_type_is_looked_for_in_bounded_steps(api, say, monkeypatch) -> None:
    monkeypatch.setattr(reading, "WINDOW", 3)
    for _ in range(4):
        say("often")
    say("rare")

    first = api("user").get("/events?types=rare").json()
    second = api("user").get(f"/events?types=rare&after={first['next']}")

    assert first["events"] == [] and types(second) == ["rare"]


def test_many_rare_types_cost_a_read_no_more_statements_than_one(
    api, say, monkeypatch, django_assert_max_num_queries
) -> None:
    monkeypatch.setattr(reading, "WINDOW", 3)
    for _ in range(4):
        say("often")
    for number in range(reading.MOST_SOUGHT + 1):
        say(f"rare.n{number}")

    with django_assert_max_num_queries(15):
        first = api("user").get("/events?types=rare.*").json()
    second = api("user").get(f"/events?types=rare.*&after={first['next']}")

    assert first["events"] == [] and types(second)[0] == "rare.n0"


@pytest.mark.parametrize("path", ["/events", "/events/stream"])
def test_a_place_older_than_what_is_kept_is_gone(api, say, path: str) -> None:
    say("pr.merged")
    say("pr.opened")
    Ledger.objects.update(pruned_to=1)

    answer = api("user").get(f"{path}?after={cursor(0)}")

    assert answer.status_code == 410
    assert types(api("user").get(f"/events?after={answer.json()['oldest']}")) == ["pr.opened"]
    assert types(api("user").get("/events")) == ["pr.opened"]


@pytest.mark.parametrize("path", ["/events", "/events/stream"])
@pytest.mark.parametrize(
    "query",
    [
        "after=-1",
        "after=x",
        f"after={2**63}",
        f"after={cursor(2**63)}",
        "after=%00",
        "after=" + "A" * 10_000,
        "types=a,b,%5B",
        "types=Task.*",
        "types=*.created",
        "types=" + ",".join(["a"] * 51),
        "types=" + "a" * 129,
        "task_id=" + "a" * 65,
        "after=now&after=now",
    ],
)
def test_a_bad_question_is_refused(api, query: str, path: str) -> None:
    assert api("user").get(f"{path}?{query}").status_code == 400


@pytest.mark.parametrize("limit", ["0", "501", "x", "-1"])
def test_a_limit_has_bounds(api, limit: str) -> None:
    assert api("user").get(f"/events?limit={limit}").status_code == 400


@pytest.mark.parametrize("place", ["x", "a b", "A" * 10_000])
def test_a_bad_last_event_id_is_refused(api, place: str) -> None:
    assert api("user").get("/events/stream", **{"Last-Event-ID": place}).status_code == 400


@pytest.mark.parametrize("path", ["/events", "/events/stream"])
def test_reading_needs_a_credential_in_a_header(api, path: str) -> None:
    assert api(None).get(f"{path}?access_token=x").status_code == 401


@pytest.mark.parametrize(
    "event_type", ["", "*", "a..b", "A.B", ".a", "a.", "a" * 129, "a\nb", "x y.z", "..b"]
)
def test_a_type_is_lower_case_words_joined_by_dots(api, event_type: str) -> None:
    said = {"event_type": event_type, "source_agent": "dev_agent"}

    assert api("agent").post("/events/publish", said).status_code == 400


def test_reading_a_page_costs_the_same_few_queries(api, say, django_assert_max_num_queries) -> None:
    for _ in range(50):
        say("pr.merged")
    caller = api("user")
    caller.get("/events")

    with django_assert_max_num_queries(5):
        assert len(types(caller.get("/events"))) == 50
