"""Ids sort by age, and no two are the same, in whatever process they are made."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from orchestrator_site.core import ids


def test_an_id_is_a_uuid_of_version_7_in_26_characters() -> None:
    name, _, text = ids.new_id("task").partition("_")
    number = 0
    for letter in text:
        number = number << 5 | ids.ALPHABET.index(letter)

    assert (name, len(text)) == ("task", 26)
    assert (number >> 76 & 15, number >> 62 & 3) == (7, 2)
    assert abs((number >> 80) / 1000 - time.time()) < 60


def test_every_random_bit_is_used() -> None:
    seen = [set(letters) for letters in zip(*(ids.random_half() for _ in range(5000)), strict=True)]

    assert [len(letters) for letters in seen] == [2, 32, 32, 8, *[32] * 12]


def test_the_first_id_of_a_moment_is_below_all_that_are_made_later() -> None:
    assert ids.first_id("task", datetime(2026, 1, 1, tzinfo=UTC)) < ids.new_id("task")


def test_threads_are_given_different_ids() -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: ids.new_id("task"), range(5000)))

    assert len(set(made)) == 5000


def test_after_a_fork_both_make_their_own() -> None:
    ids.random_half()
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, ids.random_half().encode())
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reader, 100).decode() != ids.random_half()
