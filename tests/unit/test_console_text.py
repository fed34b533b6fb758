"""Foreign text is shown whole, as it was written, and with nothing hidden in it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from approvals_app.console import summaries
from orchestrator_site.console import rendering

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
CYRILLIC_A = "\u0430"


def test_text_of_several_lines_keeps_them() -> None:
    sql = "BEGIN;\n  DROP TABLE orders;\nCOMMIT;"

    shown = rendering.json_html({"sql": sql, "after": 1})

    assert f'<span class="text">{sql}</span>' in shown
    assert "\\n" not in shown


def test_windows_line_breaks_are_line_breaks_and_a_lone_one_is_boxed() -> None:
    assert rendering.lines_html("one\r\ntwo") == "one\ntwo"
    assert 'title="control character">U+000D</span>' in rendering.lines_html("rm -rf /\rls\nend")
    assert rendering.unseen_in("one\r\ntwo") == {}
    assert rendering.unseen_in("one\rtwo\n") == {"control character": 1}


def test_a_diff_has_its_colours_and_no_line_is_lost() -> None:
    shown = rendering.lines_html("--- a\n+++ b\n@@ -1 +1 @@\n-old <b>\n+new\n same")

    assert '<span class="line line-removed">-old &lt;b&gt;</span>' in shown
    assert '<span class="line line-added">+new</span>' in shown
    assert shown.count('<span class="line') == 6


@pytest.mark.parametrize(
    "value", [{}, [], "", 0, 1, 1.5, True, None, "a\\nb", {"a": [{"b": []}]}, ["x", {"y": 2}]]
)
def test_data_without_line_breaks_reads_as_json(value: Any) -> None:
    import html
    import json
    import re

    shown = html.unescape(re.sub("<[^>]*>", "", rendering.json_html(value)))

    assert shown == json.dumps(value, indent=2)


def test_markup_in_lines_is_inert_and_what_hides_is_boxed() -> None:
    shown = rendering.json_html({"a": "<script>bad()</script>\n\u202egnp"})

    assert "<script>" not in shown and "\u202e" not in shown
    assert 'title="RIGHT-TO-LEFT OVERRIDE">U+202E</span>gnp' in shown


@pytest.mark.parametrize(
    ("written", "marks"),
    [
        (f"p{CYRILLIC_A}yments", 1),
        ("payments", 0),
        ("рост продаж", 0),
        ("Δt = 5 µs", 0),
        ("сloud-Оps", 2),
        (f"Москва {CYRILLIC_A} shop", 0),
    ],
)
def test_letters_that_look_like_latin_ones_are_marked_in_words_that_mix_them(
    written: str, marks: int
) -> None:
    assert rendering.visible(written).count('class="alike"') == marks
    assert sum(rendering.unseen_in(written).values()) == marks


def test_what_hides_is_found_however_deep_it_stands() -> None:
    assert rendering.unseen_in({"a": ["x" * 5000, {"b" + "\u200b": 1}]}) == {"ZERO WIDTH SPACE": 1}


def test_a_stack_trace_keeps_its_lines_and_a_sentence_is_one() -> None:
    assert '<span class="text">Traceback:\n  File' in rendering.quoted("Traceback:\n  File")
    assert rendering.quoted("No <b>.") == '<p class="said">No &lt;b&gt;.</p>'


@pytest.mark.parametrize(
    ("left", "tone"), [(3600, ""), (900, "soon"), (1, "soon"), (0, "late"), (-60, "late")]
)
def test_a_deadline_says_how_near_it_is(left: int, tone: str) -> None:
    shown = rendering.deadline(NOW + timedelta(seconds=left), NOW)

    assert f'<span class="deadline {tone}">' in shown
    assert ("missed" in shown) == (tone == "late")


def test_a_title_holds_nothing_unseen() -> None:
    assert rendering.in_words("a\u202eb") == "a[U+202E]b"


@pytest.mark.parametrize(
    ("payload", "headline"),
    [
        (
            {"service": "shop", "version": "1.4.1", "environment": "production"},
            "deployment · shop 1.4.1 → production",
        ),
        ({"title": "Fix\nlogin", "service": "web"}, "deployment · Fix login"),
        ({"summary": "Clean up", "target": "staging"}, "deployment · Clean up → staging"),
        ({"service": {"a": 1}, "version": True}, "deployment"),
        ([1, 2], "deployment"),
        ({"title": "x" * 500}, "deployment · " + "x" * 96 + "…"),
    ],
)
def test_a_headline_says_what_is_asked(payload: Any, headline: str) -> None:
    assert summaries.headline({"type": "deployment", "payload": payload}) == headline
