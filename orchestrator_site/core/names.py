"""What may be the name of a principal, and when two names are one. Imports nothing of ours."""

import functools
import unicodedata

MAX_NAME = 128
# How the service speaks of itself in the records.
RESERVED = frozenset({"system", "orchestrator", "console", "command"})
MARKS = frozenset("._-@:/+")
IGNORABLE = (  # Unicode's Default_Ignorable_Code_Point: what shows nothing
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)
# Scripts that one language writes together.
TOGETHER = {
    "CJK": "EAST ASIAN",
    "HIRAGANA": "EAST ASIAN",
    "KATAKANA": "EAST ASIAN",
    "HANGUL": "EAST ASIAN",
}


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
    if any(is_ignorable(char) or unicodedata.category(char) == "Co" for char in text):
        return True
    worded = [char for char in text if is_letter(char) or (char.isdecimal() and not char.isascii())]
    return len({script_of(char) for char in worded}) > 1


def is_letter(char: str) -> bool:
    """Return whether a character is a letter, or a sign on one."""
    return unicodedata.category(char)[0] in "LM"


@functools.lru_cache(maxsize=4096)
def fold(name: str) -> str:
    """Return what stands for a name where two spellings of it are one."""
    shown = "".join(char for char in unicodedata.normalize("NFKC", name) if not is_ignorable(char))
    return unicodedata.normalize("NFKC", shown.casefold())


def is_ignorable(char: str) -> bool:
    """Return whether a character shows nothing."""
    return any(first <= ord(char) <= last for first, last in IGNORABLE)


def script_of(char: str) -> str:
    """Return the script of a character, as the first word of its Unicode name tells it."""
    word = unicodedata.name(char, "UNKNOWN").replace("-", " ").split()[0]
    return TOGETHER.get(word, word)
