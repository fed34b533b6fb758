"""Bad input, as data: a line is a case."""

from typing import Any

TASK = {"type": "bugfix", "payload": {"issue": "1"}}

EVENT = {"event_type": "pr.merged", "source_agent": "dev_agent"}


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


# J: texts of bodies, sent to each door that takes one.
TEXTS: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 400),
    "null": (b"null", 400),
    "empty object": (b"{}", 400),
    "array": (b"[]", 400),
    "string": (b'"x"', 400),
    "number": (b"1", 400),
    "cut off": (b'{"type": "bugfix", "payl', 400),
    "trailing brackets": (b"{}}}", 400),
    "single quotes": (b"{'a': 1}", 400),
    "comment": (b"{} // x", 400),
    "two objects": (b"{}{}", 400),
    "not UTF-8": (b'{"a": "\xff"}', 400),
    "overlong UTF-8": (b'{"a": "\xc0\xaf"}', 400),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), 400),
}

# J: values, put into each free field of each door.
VALUES = {
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "1e400": "1e400",
    "2^53": str(2**53),
    "10,001 values": str([0] * 9_998),
    "a name of 100 KB": '{"' + "n" * 102_400 + '": 1}',
    "5,000 digits": "9" * 5000,
    "NUL": '"a\\u0000b"',
    "NUL in a key": '{"a\\u0000b": 1}',
    "lone surrogate": '"\\ud800"',
    "lone surrogate in a key": '{"\\udc00": 1}',
    "turned surrogates": '"\\udc00\\ud800"',
    "65 levels": nested(65),
    "100,000 brackets": "[" * 100_000,
    "a field twice": '{"a": 1, "a": 2}',
}

DOORS: dict[str, tuple[str, dict[str, Any], str]] = {
    "task payload": ("/tasks", TASK, "payload"),
    "task metadata": ("/tasks", TASK, "metadata"),
    "task, unknown field": ("/tasks", TASK, "unheard_of"),
    "event payload": ("/events/publish", EVENT, "payload"),
    "batch": ("/tasks/batch", {"tasks": [TASK]}, "extra"),
    "batch of events": ("/events/publish/batch", {"events": [EVENT]}, "extra"),
    "claim": ("/tasks/claim", {"agent": "dev_agent"}, "extra"),
}

LONG = "x" * 10_000

# Moments that are written as they should be, but that sums of times or a database cannot hold.
NO_TIMES = [
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "1969-12-31T23:59:59Z",
    "3000-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59-14:00",
]

# B: a new task; the one field that is wrong.
TASKS: dict[str, list[Any]] = {
    "type": [
        None,
        "",
        5,
        "unknown",
        "BUGFIX",
        " bugfix",
        "bugfix\n",
        "\uff42ugfix",
        ["bugfix"],
        {},
        True,
        LONG,
    ],
    "payload": [None, [], "x", 1, True, ""],
    "priority": ["P4", "p0", "P0 ", "", 0, None, ["P0"], {}, True, "high"],
    "sla_target": [0, -1, 1.5, "x", "3600", True, 31_536_001, 2**31, 2**53 - 1, 10**12, [], {}],
    "source": [None, "x" * 101, ["a"], {}, True],
    "metadata": [None, [], "x", 1],
    "metadata.trace_id": [
        {"trace_id": {}},
        {"trace_id": "x" * 129},
        {"trace_id": "a\nb"},
        {"trace_id": 5},
    ],
    "trace_id": ["x" * 129, [], {}, True],
    "parent_task_id": ["task_nowhere", "x" * 65, [], {}],
    "not_before": ["soon", "2026-13-01T00:00:00Z", 5, [], "99999-01-01T00:00:00Z", *NO_TIMES],
    "depends_on": [["task_nowhere"], "task_1", [5.5, []], [None], ["x" * 65], ["a"] * 51],
    "on_dependency_failure": ["ignore", "", None, 1],
    "max_attempts": [0, -1, 101, 1.5, "x", "3", None, 2**40, True],
}

# F: an event; the one field that is wrong.
EVENTS: dict[str, list[Any]] = {
    "event_type": [
        None,
        "",
        "*",
        "a..b",
        "A.B",
        "x" * 129,
        "a\nb",
        "a.b\n",
        ".a",
        "a.",
        "a b",
        "é",
        [],
        {},
        True,
    ],
    "source_agent": [None, "", "x" * 101, [], {}, True],
    "payload": [[], "x", 1, True],
    "task_id": ["x" * 65, [], {}, True],
    "trace_id": ["x" * 129, [], {}, True],
    "priority": ["medium", "P9", 1, [], "p0", ""],
}

# C, H: what is read. {task} and {approval} stand for ids that exist.
READS: dict[str, int] = {
    "/tasks/task_": 404,
    "/tasks/task_nowhere": 404,
    "/tasks/0": 404,
    "/tasks/..%2f": 404,
    "/tasks/%00": 404,
    "/tasks/%ff": 404,
    "/tasks/" + "x" * 65: 404,
    "/tasks/'%20OR%20'1'='1": 404,
    "/tasks/%25": 404,
    "/tasks/*": 404,
    "/tasks/task_nowhere/timeline": 404,
    "/tasks?limit=0": 400,
    "/tasks?limit=-1": 400,
    "/tasks?limit=201": 400,
    "/tasks?limit=x": 400,
    "/tasks?limit=1_0": 400,
    "/tasks?limit=%EF%BC%91": 400,
    "/tasks?limit=" + "9" * 30: 400,
    "/tasks?limit=": 400,
    "/tasks?limit=1&limit=2": 400,
    "/tasks?cursor=x": 400,
    "/tasks?cursor=%00": 400,
    "/tasks?cursor=dDE=x": 400,
    "/tasks?cursor=" + "x" * 101: 400,
    "/tasks?cursor=" + "dDk5OTk5OTk5OTk5OTk5OTk5OTk5": 400,
    "/tasks?status=unknown": 400,
    "/tasks?status=ASSIGNED": 400,
    "/tasks?priority=P9": 400,
    "/tasks?overdue=maybe": 400,
    "/tasks?type=%00": 400,
    # no text at all in UTF-8: replaced, and nothing has such a source
    "/tasks?source=%ED%A0%80": 200,
    "/tasks?created_by=" + "x" * 129: 400,
    "/approvals/approval_": 404,
    "/approvals/approval_nowhere": 404,
    "/approvals/%00": 404,
    "/approvals/{task}": 404,
    "/approvals/pending?limit=0": 400,
    "/approvals/pending?limit=-1": 400,
    "/approvals/pending?limit=1001": 400,
    "/approvals/pending?limit=x": 400,
    "/approvals/history?limit=0": 400,
    "/approvals/history?limit=1001": 400,
    "/approvals/history?limit=" + "9" * 30: 400,
}

# D: reports on the task that waits for sign-off.
REPORTS: dict[str, int] = {
    "": 400,
    "?status=": 400,
    "?status=done": 400,
    "?status=COMPLETED": 400,
    "?status=pending": 400,
    "?status=assigned": 400,
    "?status=completed&status=failed": 400,
    "?status=in_progress": 409,
    "?status=completed": 409,
    "?status=failed&error=" + "x" * 4097: 400,
    "?status=failed&error=%00": 400,
    "?status=failed&attempt=x": 400,
    "?status=failed&attempt=-1": 400,
    "?status=failed&attempt=" + "9" * 30: 400,
    "?status=failed&attempt=7": 409,
    "?status=failed&retryable=perhaps": 400,
    "?status=completed&result=x": 400,
}

BODIES: list[tuple[Any, int]] = [
    ([], 400),
    ("completed", 400),
    ({"status": None}, 400),
    ({"status": ["completed"]}, 400),
    ({"status": "completed", "result": []}, 400),
    ({"status": "failed", "error": {}}, 400),
    ({"status": "completed", "result": {"a": "x" * 262_144}}, 413),
]

# I: decisions. What the domain refuses is written down as an event; input that is no good is not.
DECISIONS: dict[str, int] = {
    "/approvals/approval_nowhere/approve": 404,
    "/approvals/approval_nowhere/reject": 404,
    "/approvals/%00/approve": 404,
    "/approvals/{approval}/approve?reason=" + "x" * 2001: 400,
    "/approvals/{approval}/reject?reason=" + "x" * 2001: 400,
    "/approvals/{approval}/reject?reason=%00": 400,
    "/approvals/{approval}/reject?reason=a&reason=b": 400,
    "/approvals/{approval}/decide": 404,
}

# E: the work loop. {path} stands for the task's own address.
WORK: list[tuple[str, Any, int]] = [
    ("/tasks/claim", {}, 400),
    ("/tasks/claim", {"agent": "nobody"}, 404),
    ("/tasks/claim", {"agent": ["dev_agent"]}, 400),
    ("/tasks/claim", {"agent": "dev_agent", "lease_seconds": 0}, 400),
    ("/tasks/claim", {"agent": "dev_agent", "lease_seconds": -1}, 400),
    ("/tasks/claim", {"agent": "dev_agent", "lease_seconds": 86_401}, 400),
    ("/tasks/claim", {"agent": "dev_agent", "limit": 0}, 400),
    ("/tasks/claim", {"agent": "dev_agent", "limit": 51}, 400),
    ("/tasks/claim", {"agent": "dev_agent", "types": []}, 400),
    ("/tasks/claim", {"agent": "dev_agent", "types": ["x"] * 101}, 400),
    ("/tasks/claim", {"agent": "dev_agent", "types": "bugfix"}, 400),
    ("/tasks/claim", {"agent": "dev_agent", "wait_seconds": 61}, 400),
    ("{path}/heartbeat", {}, 400),
    ("{path}/heartbeat", {"attempt": 0}, 400),
    ("{path}/heartbeat", {"attempt": 2**63 - 1}, 400),
    ("{path}/heartbeat", {"attempt": 1}, 409),
    ("{path}/heartbeat", {"attempt": 1, "progress": 101}, 400),
    ("{path}/heartbeat", {"attempt": 1, "note": "x" * 501}, 400),
    ("/tasks/task_nowhere/heartbeat", {"attempt": 1}, 404),
    ("{path}/release", {}, 400),
    ("{path}/release", {"attempt": 1}, 409),
    ("{path}/release", {"attempt": 1, "reason": "x" * 501}, 400),
    ("/tasks/task_nowhere/cancel", {}, 404),
    ("{path}/cancel", {"reason": "x" * 2001}, 400),
    ("/tasks/batch", {"tasks": []}, 400),
    ("/tasks/batch", {"tasks": [TASK] * 101}, 400),
    ("/tasks/batch", {"tasks": [TASK, {"type": "unknown", "payload": {}}]}, 400),
    ("/tasks/batch", {"tasks": [TASK, {**TASK, "depends_on": ["task_nowhere"]}]}, 400),
    ("/tasks/batch", {"tasks": [{**TASK, "ref": "a", "depends_on": ["a"]}]}, 400),
    ("/tasks/batch", {"tasks": [TASK], "mode": "some"}, 400),
    ("/tasks/batch", {"tasks": [5]}, 400),
    *(("/tasks/batch", {"tasks": [{**TASK, "not_before": time}]}, 400) for time in NO_TIMES),
    *(("/events/consumers", {"name": "c", "start": time}, 400) for time in NO_TIMES),
    *(("/events/consumers/c/replay", {"after": time}, 400) for time in NO_TIMES),
]
