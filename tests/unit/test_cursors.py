"""Where a page goes on: what was given out comes back, and nothing else is taken."""

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_site.core import cursors
from orchestrator_site.core.cursors import BadCursor

TYPES = (str, datetime, int)
PLACE = ("P0", datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC), 7)


def written(text: str) -> str:
    """Return what a stranger would send: this text in base64."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def test_a_cursor_comes_back_as_the_values_it_was_made_of() -> None:
    assert cursors.decode(cursors.encode("list", *PLACE), "list", *TYPES) == list(PLACE)


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(BadCursor) as refusal:
        cursors.decode(cursors.encode("tasks", 7), "events", int, field="after")
    assert refusal.value.field == "after"


def test_a_cursor_that_readers_keep_since_the_first_version_still_counts() -> None:
    assert cursors.decode(written("1:42"), "1", int) == [42]


@pytest.mark.parametrize(
    "values",
    [
        "",
        "1,2",
        "true",
        "-1",
        "1.5",
        "1e3",
        "NaN",
        str(2**62 + 1),
        '"7"',
        "[7]",
        "{}",
        "null",
        "7][",
    ],
)
def test_a_number_that_is_none_is_refused(values: str) -> None:
    with pytest.raises(BadCursor):
        cursors.decode(written(f"list:{values}"), "list", int)


@pytest.mark.parametrize("text", ['"2026-03-01"', '"2026-03-01T12:00:00"', "7", '"soon"', '"é"'])
def test_a_time_without_a_zone_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        cursors.decode(written(f"list:{text}"), "list", datetime)


@given(st.text(max_size=200) | st.text(max_size=100).map(written))
def test_nothing_else_gets_through_and_nothing_breaks(text: str) -> None:
    with pytest.raises(BadCursor):
        cursors.decode(text, "list", *TYPES)
