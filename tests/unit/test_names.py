"""What may be a name, and when two names are one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.errors import ReservedSource
from events_app.rules import ensure_may_say
from orchestrator_site.api import throttling
from orchestrator_site.core.names import fault_of, fold, is_name
from tests.conftest import actor

LOOK_ALIKES = [
    "K-AGENT",
    "k-agent\u3164",
    "k-agent\u1160",
    "k-agent\ufe0f",
    "k-\u200bagent",
    "\uff4b-agent",
    "k-agent\u00ad",
]
ODD = [
    *LOOK_ALIKES[1:],
    "k-\u0430gent",  # a Cyrillic a
    "k-agent\u2800",
    "k-agent\ue000",
    "k agent",
    "k-agent!",
    "k\u2010agent",
    "e\u0301mile",
    "\u03bf\u043e",
    "",
    " a",
    "system",
    "Command",
    "x" * 129,
]
PLAIN = [
    "k-agent",
    "dev_agent",
    "a.b@c.example",
    "spiffe://x/y+1",
    "émile",
    "алиса-2",
    "山田太郎",
    "たなか",
    "김철수",
]


@pytest.mark.parametrize("name", ODD)
def test_an_odd_name_is_refused_with_a_sentence(name: str) -> None:
    assert fault_of(name).endswith(".")


@pytest.mark.parametrize("name", PLAIN)
def test_names_of_one_script_are_fine(name: str) -> None:
    assert fault_of(name) == ""


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_spellings_of_one_name_are_one(name: str) -> None:
    assert fold(name) == fold("k-agent")
    here, there = (
        throttling.bucket_of("stats", actor=actor(spelled), address="")
        for spelled in (name, "k-agent")
    )
    assert here == there


@pytest.mark.parametrize(
    "source", ["System", "s\u0443stem", "sys\u200btem", "\uff53ystem", "\u2060console"]
)
def test_nobody_speaks_under_a_name_like_the_servers(source: str) -> None:
    with pytest.raises(ReservedSource):
        ensure_may_say("pr.merged", source)


@given(st.text(max_size=20))
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(max_size=20))
def test_a_new_name_is_always_a_name(text: str) -> None:
    assert fault_of(text) or is_name(text)
