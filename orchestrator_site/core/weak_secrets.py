"""Whether a secret can be guessed. Imports nothing of ours."""

import itertools

LEAST_VARIETY = 8  # different characters; 32 random hex digits have about 14
LEAST_SURPRISES = (
    12  # characters that do not follow from those before; 32 random hex digits have about 24
)
ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "azertyuiop")
PLACEHOLDERS = (  # of five letters and more: shorter ones turn up in random text
    "your-",
    "your_",
    "change",
    "secret",
    "placeholder",
    "example",
    "insecure",
    "password",
    "replace",
    "jwtkey",
    "jwt-key",
    "jwt_key",
    "apikey",
    "api-key",
    "api_key",
    "mysuper",
    "my-super",
    "my_super",
    "letmein",
)
ON_KEYBOARDS = {pair for row in ROWS for pair in itertools.pairwise(row)}


def is_guessable(secret: str) -> bool:
    """Return whether a secret is a placeholder, or repeats or runs on: aaaa, abcdabcd, 0123, qwerty."""
    text = secret.lower()
    if any(word in text for word in PLACEHOLDERS):
        return True
    return len(set(secret)) < LEAST_VARIETY or surprises(text) < LEAST_SURPRISES


def surprises(text: str) -> int:
    """Return how many characters do not follow from the one before: by repetition, alphabet or keyboard."""
    seen: set[tuple[str, str]] = set()
    found = 1
    for pair in itertools.pairwise(text):
        left, right = pair
        follows = abs(ord(left) - ord(right)) <= 1 or {pair, pair[::-1]} & ON_KEYBOARDS
        found += not follows and pair not in seen
        seen.add(pair)
    return found
