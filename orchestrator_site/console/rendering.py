"""Foreign text made safe to look at: escaped, whole, and with nothing hidden in it. Pure."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django.template.defaultfilters import filesizeformat
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

UNUSUAL = re.compile(r"[^\n\t -~]")
UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
# Fillers count as letters and variation selectors as marks, but neither shows; U+FE0F only
# colours emoji.
BLANKS = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\u034f") | frozenset(
    map(chr, range(0xFE00, 0xFE0F))
)
SELECTORS = range(0xE0100, 0xE01F0)
# Cyrillic, Greek and Armenian letters that look like Latin ones: marked in words with Latin ones.
ALIKE = re.compile("[аеорсухіјѕһԁԛԝӏгпАВЕЅІЈКМНОРСТУХЗԌοαινυκρχΑΒΕΖΗΙΚΜΝΟΡΤΥΧօոսհԼՕՍ]")
WORD = re.compile(r"[^\W\d_]+")
LATIN = re.compile("[A-Za-z]")
DIFF = re.compile(r"^(?:@@ -\d|diff --git |\+\+\+ )", re.MULTILINE)
DIFF_LINES = {"+": "line-added", "-": "line-removed", "@": "line-place"}
DIFF_LINES |= {"+++": "line-place", "---": "line-place"}
WORDS = {  # of priorities, states and origins, by the tone of their labels
    "danger": "P0 failed rejected violated",
    "warning": "P1 pending warning",
    "info": "P2 assigned agent",
    "primary": "in_progress human",
    "success": "completed approved on_track met",
}
TONES = {word: tone for tone, words in WORDS.items() for word in words.split()}  # others are calm
CREDENTIALS = {
    "jwt": (
        "shared secret",
        "warning",
        "Signed with the secret that agents share: the name is claimed, not proven.",
    ),
    "key": ("personal key", "success", "A personal API key of this name."),
    "account": ("console account", "success", "Signed in to this console."),
}

dumped = json.JSONEncoder(ensure_ascii=False).encode


def is_unseen(character: str) -> bool:
    """Return whether a character shows nothing, or changes how its neighbours show."""
    if character in "\n\t":
        return False
    special = character in BLANKS or ord(character) in SELECTORS
    return special or unicodedata.category(character) in UNSEEN


def visible(text: Any) -> SafeString:
    """Return text as HTML: unseen characters boxed and named, look-alike letters marked."""
    markup: str = escape(str(text))
    if ALIKE.search(markup):
        markup = WORD.sub(unmasked, markup)
    return mark_safe(UNUSUAL.sub(boxed, markup))  # noqa: S308 - escaped above


def unmasked(found: re.Match[str]) -> str:
    """Return a word with the letters marked that only look Latin, if it has Latin ones too."""
    return ALIKE.sub(marked, found[0]) if LATIN.search(found[0]) else found[0]


def marked(found: re.Match[str]) -> str:
    """Return a letter, marked as another one than it seems."""
    return format_html('<span class="alike" title="{}">{}</span>', name_of(found[0]), found[0])


def masks_in(text: str) -> list[str]:
    """Return the letters of a text that only look Latin, in words with Latin ones."""
    if not ALIKE.search(text):
        return []
    return [one for word in WORD.findall(text) if LATIN.search(word) for one in ALIKE.findall(word)]


def boxed(found: re.Match[str]) -> str:
    """Return a character as it is, or its box."""
    character = found[0]
    if not is_unseen(character):
        return character
    return format_html(
        '<span class="unseen" title="{}">U+{}</span>', name_of(character), f"{ord(character):04X}"
    )


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
    """Return how often which hidden characters stand in JSON data, by name, most first."""
    found: Counter[str] = Counter()
    for text in strings_in(value):
        if not text.isascii() or not text.isprintable():
            text = text.replace("\r\n", "\n")
            found.update(name_of(one) for one in UNUSUAL.findall(text) if is_unseen(one))
            found.update(name_of(one) for one in masks_in(text))
    return dict(found.most_common())


def json_html(value: Any) -> SafeString:
    """Return JSON data as HTML, whole; text of several lines in a box, as it was written."""
    return mark_safe("".join(json_parts(value, "\n")))  # noqa: S308 - each part is escaped


def json_parts(value: Any, margin: str) -> Iterator[str]:
    """Yield JSON data as HTML. margin: the line break and the blanks its own lines begin with."""
    if isinstance(value, dict) and value:
        items = [
            (f'<span class="nt">{visible(dumped(key))}</span>: ', item)
            for key, item in value.items()
        ]
        yield from json_block(items, "{}", margin)
    elif isinstance(value, list) and value:
        yield from json_block([("", item) for item in value], "[]", margin)
    elif has_lines(value):
        yield format_html('<span class="text">{}</span>', lines_html(value))
    elif isinstance(value, str):
        yield f'<span class="s2">{visible(dumped(value))}</span>'
    else:
        tone = "kc" if value is None or isinstance(value, bool) else "mi"
        yield f'<span class="{tone}">{dumped(value)}</span>'


def json_block(items: list[tuple[str, Any]], brackets: str, margin: str) -> Iterator[str]:
    """Yield the items of an object or list, a line each; a box of text ends its line by itself."""
    yield brackets[0]
    inner, gap = margin + "  ", margin + "  "
    for number, (label, item) in enumerate(items):
        yield gap + label
        yield from json_parts(item, inner)
        gap = inner[1:] if has_lines(item) else ("," if number < len(items) - 1 else "") + inner
    yield (margin[1:] if has_lines(items[-1][1]) else margin) + brackets[1]


def has_lines(value: Any) -> bool:
    """Return whether a value is text of several lines."""
    return isinstance(value, str) and "\n" in value.strip("\n")


def lines_html(text: str) -> SafeString:
    """Return text of several lines for a box of fixed width; a diff gets its colours."""
    text = text.replace("\r\n", "\n").strip("\n")
    if not DIFF.search(text):
        return visible(text)
    lines = (
        (DIFF_LINES.get(line[:3]) or DIFF_LINES.get(line[:1], ""), visible(line))
        for line in text.split("\n")
    )
    return joined([format_html('<span class="line {}">{}</span>', *line) for line in lines], "")


def quoted(text: Any) -> SafeString:
    """Return a reason or an error as a block; several lines in fixed width."""
    words = str(text)
    if has_lines(words):
        return format_html(
            '<div class="said"><span class="text">{}</span></div>', lines_html(words)
        )
    return format_html('<p class="said">{}</p>', visible(words))


def summary(payload: Any, width: int = 96, unread: int = 0) -> SafeString:
    """Return the first fields of a payload in one line; what is left out shows as `…`.

    unread: how many bytes a list has left in the database; then nothing but this size is shown.
    """
    if unread:
        text = f"{filesizeformat(unread)} of content"
    elif isinstance(payload, dict):
        text = " · ".join(
            f"{key}: {brief(item, width)}" for key, item in list(payload.items())[:12]
        )
    else:
        text = brief(payload, width)
    return visible(cut(text, width))


def brief(value: Any, width: int = 96) -> str:
    """Return a value in a word, or its beginning in one line."""
    if isinstance(value, dict):
        return "{…}" if value else "{}"
    if isinstance(value, list):
        return f"[{len(value)}]"
    return value[: width + 1].replace("\n", " ↵ ") if isinstance(value, str) else json.dumps(value)


def cut(text: str, width: int) -> str:
    """Return text, or its beginning and `…`."""
    return text if len(text) <= width else text[: width - 1] + "…"


def in_words(text: str) -> str:
    """Return text for places that take no HTML: unseen characters as `[U+202E]`."""
    return UNUSUAL.sub(
        lambda found: f"[U+{ord(found[0]):04X}]" if is_unseen(found[0]) else found[0], text
    )


def chip(text: Any, tone: str = "", title: str = "") -> SafeString:
    """Return a small coloured label. tone: by what the text means, unless given."""
    word = str(text)
    return format_html(
        '<span class="chip chip-{}"{}>{}</span>',
        tone or TONES.get(word, "calm"),
        format_html(' title="{}"', title) if title else "",
        visible(word.replace("_", " ")),
    )


def dialog_button(url: str, label: str, style: str = "") -> SafeString:
    """Return a button that opens a dialog. style: a class of the stylesheet."""
    return format_html(
        '<a class="button {}" role="button" href="{}" hx-get="{}" hx-target="#modal-content" '
        'hx-select="#dialog" hx-sync="this:drop" data-dialog>{}</a>',
        *(style, url, url, label),
    )


def chips(words: Iterable[str]) -> SafeString:
    """Return labels beside each other."""
    return format_html('<span class="below">{}</span>', joined(map(chip, words)))


def credential(text: str) -> SafeString:
    """Return how well a credential proves a name, such as `key:ab12`, as a label."""
    kind, _, which = text.partition(":")
    name, tone, meaning = CREDENTIALS.get(
        kind, ("not known", "calm", "No credential was recorded.")
    )
    return chip(f"{name} {which}" if kind == "key" else name, tone, meaning)


def person(text: str, credential_text: str) -> SafeString:
    """Return who did something and how well the name is proven; the service needs no proof."""
    proof = [] if text == "system" else [credential(credential_text)]
    return joined([visible(text), *proof])


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
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        f"{moment:%Y-%m-%d %H:%M:%S} UTC",
        text,
    )


def deadline(moment: datetime | None, now: datetime, soon: float = 900.0) -> SafeString:
    """Return how long is left until a moment, in red once it is missed.

    soon: how many seconds before it is urgent.
    """
    if moment is None:
        return faint("–")
    left = (moment - now).total_seconds()
    tone = "late" if left <= 0 else "soon" if left <= soon else ""
    words = format_html("{}, missed", when(moment, now)) if left <= 0 else when(moment, now)
    return format_html('<span class="deadline {}">{}</span>', tone, words)


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
    """Return safe HTML in two lines: the first, and the others beside each other below it."""
    rest = joined(lines[1:])
    below = format_html('<span class="below">{}</span>', rest) if rest else ""
    return format_html('<span class="stack"><span>{}</span>{}</span>', lines[0], below)


def joined(parts: Iterable[SafeString], between: str = " ") -> SafeString:
    """Return safe HTML beside each other."""
    return mark_safe(between.join(parts))  # noqa: S308 - each is safe


def name(text: str) -> SafeString:
    """Return a name on one line; only a long one may break."""
    return format_html(
        '<span class="{}">{}</span>', "name" if len(text) <= 24 else "wrap", visible(text)
    )
