"""Foreign text made safe to look at: escaped, whole, and with nothing hidden in it. Pure."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import JsonLexer

UNUSUAL = re.compile(r"[^\n\t -~]")
UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
# Fillers count as letters and variation selectors as marks, but neither shows; U+FE0F only colours emoji.
BLANKS = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\u034f") | frozenset(map(chr, range(0xFE00, 0xFE0F)))
SELECTORS = range(0xE0100, 0xE01F0)
HIGHLIGHTED = 200_000  # characters; longer text is shown whole, but plain: colouring it would take seconds
FORMATTER = HtmlFormatter(nowrap=True)
TONES = {
    "P0": "danger",
    "P1": "warning",
    "P2": "info",
    "P3": "calm",
    "pending": "warning",
    "assigned": "info",
    "in_progress": "primary",
    "completed": "success",
    "approved": "success",
    "failed": "danger",
    "rejected": "danger",
    "cancelled": "calm",
    "expired": "calm",
    "withdrawn": "calm",
    "superseded": "calm",
    "violated": "danger",
    "warning": "warning",
    "on_track": "success",
    "met": "success",
    "human": "primary",
    "agent": "info",
}
CREDENTIALS = {
    "jwt": ("shared secret", "warning", "Signed with the secret that agents share: the name is claimed, not proven."),
    "key": ("personal key", "success", "A personal API key of this name."),
    "account": ("console account", "success", "Signed in to this console."),
}


def is_unseen(character: str) -> bool:
    """Return whether a character shows nothing, or changes how its neighbours show: controls, bidi, zero-width."""
    return (
        unicodedata.category(character) in UNSEEN or character in BLANKS or ord(character) in SELECTORS
    ) and character not in "\n\t"


def visible(text: Any) -> SafeString:
    """Return text as HTML, with every unseen character as a box that names it."""
    return unveiled(escape(str(text)))


def unveiled(markup: str) -> SafeString:
    """Return escaped HTML with its unseen characters boxed."""
    return mark_safe(UNUSUAL.sub(boxed, markup))  # noqa: S308 - escaped before


def boxed(found: re.Match[str]) -> str:
    """Return a character as it is, or its box."""
    character = found[0]
    if not is_unseen(character):
        return character
    return format_html('<span class="unseen" title="{}">U+{}</span>', name_of(character), f"{ord(character):04X}")


def name_of(character: str) -> str:
    """Return what Unicode calls a character."""
    return unicodedata.name(character, "control character")


def strings_in(value: Any) -> Iterator[str]:
    """Yield every key and string of JSON data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_in(item)


def unseen_in(value: Any) -> dict[str, int]:
    """Return the unseen characters in JSON data: name -> how often, the most frequent first."""
    found = (name_of(one) for text in strings_in(value) for one in UNUSUAL.findall(text) if is_unseen(one))
    return dict(Counter(found).most_common())


def json_html(value: Any) -> SafeString:
    """Return JSON data as highlighted HTML lines, whole."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return visible(text) if len(text) > HIGHLIGHTED else unveiled(highlight(text, JsonLexer(), FORMATTER).rstrip())


def summary(payload: Any, width: int = 96) -> SafeString:
    """Return the first fields of a payload in one line; what is left out shows as `…`."""
    if isinstance(payload, dict):
        text = " · ".join(f"{key}: {brief(item)}" for key, item in list(payload.items())[:12])
    else:
        text = brief(payload)
    return visible(text if len(text) <= width else text[: width - 1] + "…")


def brief(value: Any) -> str:
    """Return a value in a word."""
    if isinstance(value, dict):
        return "{…}" if value else "{}"
    if isinstance(value, list):
        return f"[{len(value)}]"
    return value if isinstance(value, str) else json.dumps(value)


def chip(text: Any, tone: str = "", title: str = "") -> SafeString:
    """Return a small coloured label. tone: by what the text means, unless given."""
    word = str(text)
    shown = visible(word.replace("_", " "))
    return format_html(
        '<span class="chip chip-{}"{}>{}</span>',
        tone or TONES.get(word, "calm"),
        format_html(' title="{}"', title) if title else "",
        shown,
    )


def credential(text: str) -> SafeString:
    """Return how well a credential proves a name, such as `key:ab12`, as a label."""
    kind, _, which = text.partition(":")
    name, tone, meaning = CREDENTIALS.get(kind, ("not known", "calm", "No credential was recorded."))
    return chip(f"{name} {which}" if kind == "key" else name, tone, meaning)


def span(seconds: float) -> str:
    """Return a duration in its two largest units."""
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86_400)
    if seconds < 60:
        return f"{max(0, int(seconds))} s"
    if hours < 1:
        return f"{minutes} min"
    if days < 1:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{days} d {hours % 24} h" if hours % 24 else f"{days} d"


def when(moment: datetime | None, now: datetime) -> SafeString:
    """Return how long ago or ahead a moment is, the moment itself on hovering."""
    if moment is None:
        return faint("never")
    away = (now - moment).total_seconds()
    text = f"{span(away)} ago" if away >= 0 else f"in {span(-away)}"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), f"{moment:%Y-%m-%d %H:%M:%S} UTC", text
    )


def code(text: str) -> SafeString:
    """Return an id in fixed width, or a dash."""
    return format_html('<code class="id">{}</code>', visible(text)) if text else faint("–")


def mono(markup: SafeString) -> SafeString:
    """Return safe HTML in fixed width."""
    return format_html('<span class="mono">{}</span>', markup)


def faint(text: str) -> SafeString:
    """Return text of less weight."""
    return format_html('<span class="faint">{}</span>', visible(text))


def stacked(*lines: SafeString) -> SafeString:
    """Return safe HTML under each other: the first line alone, the others beside each other below it."""
    below = joined(lines[1:])
    return format_html('<span class="stack"><span>{}</span><span class="below">{}</span></span>', lines[0], below)


def joined(parts: Iterable[SafeString]) -> SafeString:
    """Return safe HTML beside each other."""
    return mark_safe(" ".join(parts))  # noqa: S308 - each is safe


def name(text: str) -> SafeString:
    """Return a name on one line; only a long one may break."""
    return format_html('<span class="{}">{}</span>', "name" if len(text) <= 24 else "wrap", visible(text))
