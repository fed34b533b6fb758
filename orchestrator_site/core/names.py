"""What may be the name of a principal, and when two names are one. Imports nothing of ours."""

import functools
import re
import unicodedata

MAX_NAME = 128
# How the service speaks of itself in the records.
RESERVED = frozenset({"system", "orchestrator", "console", "command"})
MARKS = frozenset("._-@:/+")
IGNORABLE = re.compile(  # Unicode's Default_Ignorable_Code_Point: what shows nothing
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Scripts that one language writes together.
TOGETHER = dict.fromkeys(("CJK", "HIRAGANA", "KATAKANA", "HANGUL"), "EAST ASIAN")


def is_name(value: object) -> bool:
    """Return whether a value can be a name: printable, not padded, not too long, not reserved."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME:
        return False
    return value.isprintable() and value == value.strip() and fold(value) not in RESERVED


def fault_of(value: object) -> str:
    """Return what is wrong with a new name, as one sentence, or nothing."""
    if not is_name(value):
        length = f"1 to {MAX_NAME} printable characters"
        return f"A name is {length}, not padded, and not a reserved word."
    if not is_plain(str(value)):
        return "A name holds letters and digits of one script and the marks . _ - @ : / + only."
    return ""


@functools.lru_cache(maxsize=4096)
def is_plain(text: str) -> bool:
    """Return whether a text holds only what a new name may."""
    allowed = all(char in MARKS or is_letter(char) or char.isdecimal() for char in text)
    return allowed and text == unicodedata.normalize("NFKC", text) and not looks_odd(text)


@functools.lru_cache(maxsize=4096)
def looks_odd(text: str) -> bool:
    """Return whether a text may look like another: letters of several scripts, or unseen ones."""
    if text.isascii():
        return False
    if IGNORABLE.search(text) or any(unicodedata.category(char) == "Co" for char in text):
        return True
    worded = [char for char in text if is_letter(char) or (char.isdecimal() and not char.isascii())]
    return len({script_of(char) for char in worded}) > 1


def is_letter(char: str) -> bool:
    """Return whether a character is a letter, or a sign on one."""
    return unicodedata.category(char)[0] in "LM"


@functools.lru_cache(maxsize=4096)
def fold(name: str) -> str:
    """Return what stands for a name where two spellings of it are one."""
    shown = IGNORABLE.sub("", unicodedata.normalize("NFKC", name))
    return unicodedata.normalize("NFKC", shown.casefold())


def script_of(char: str) -> str:
    """Return the script of a character, as the first word of its Unicode name tells it."""
    word = unicodedata.name(char, "UNKNOWN").replace("-", " ").split()[0]
    return TOGETHER.get(word, word)
