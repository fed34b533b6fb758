"""Whether a secret can be guessed. Imports nothing of ours."""

import itertools
import re

LEAST_VARIETY = 8  # different characters; 32 random hex digits have about 14
LEAST_SURPRISES = 12  # characters that do not follow the one before; 32 hex digits have about 24
ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "azertyuiop")
# Of five letters and more: shorter ones turn up in random text.
PLACEHOLDERS = re.compile(
    "your[-_]|change|secret|placeholder|example|insecure|password|replace|"
    "(jwt|api)[-_]?key|my[-_]?super|letmein"
)
ON_KEYBOARDS = {pair for row in ROWS for pair in itertools.pairwise(row)}


def is_guessable(secret: str) -> bool:
    """Return whether a secret is a placeholder, or repeats or runs on: aaaa, abab, 0123, qwerty."""
    text = secret.lower()
    if PLACEHOLDERS.search(text):
        return True
    return len(set(secret)) < LEAST_VARIETY or surprises(text) < LEAST_SURPRISES


def surprises(text: str) -> int:
    """Return how many characters do not follow the one before by repetition, alphabet, keyboard."""
    seen: set[tuple[str, str]] = set()
    number = 1
    for pair in itertools.pairwise(text):
        left, right = pair
        follows = abs(ord(left) - ord(right)) <= 1 or {pair, pair[::-1]} & ON_KEYBOARDS
        number += not follows and pair not in seen
        seen.add(pair)
    return number
