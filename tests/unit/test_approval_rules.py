"""Who must sign, who may sign, and what a signature holds for."""

import dataclasses
import itertools
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approvals_app import rules
from approvals_app.errors import MayNotDecide
from approvals_app.models import Approval, ApprovalPolicy
from orchestrator_site.core.actors import Actor, Assurance, Door, Role

MODES = ("guide", "four-eyes", "strict", "human")
REQUESTER, BYSTANDER, HOLDER = "dev-agent-1", "ops-agent-1", "dev-agent-2"


def who(name: str, role: str, assurance: str) -> Actor:
    """Return an actor; who asked did so with the personal key `key:asked` or the shared secret."""
    credential = {"shared": "jwt", "personal": f"key:{name}", "human": f"account:{name}"}[assurance]
    return Actor(name, Role(role), Door.API, Assurance(assurance), credential)


def may(
    mode: str, by: Actor, *, decider_role: str = "agent", requester_credential: str = "jwt"
) -> bool:
    approval = Approval(
        requested_by=REQUESTER, decider_role=decider_role, requester_credential=requester_credential
    )
    try:
        rules.ensure_may_decide(approval, by, mode=mode, involved=frozenset({REQUESTER, HOLDER}))
    except MayNotDecide as refusal:
        assert str(refusal).endswith(".")
        return False
    return True


# Who asks to decide, and in which modes they may: read off docs/decisions/0013-who-decides.md, line
# by line.
MATRIX: dict[tuple[str, str, str], tuple[str, ...]] = {
    (REQUESTER, "agent", "shared"): ("guide",),
    (REQUESTER, "agent", "personal"): ("guide",),
    (REQUESTER, "admin", "shared"): ("guide",),
    (REQUESTER, "admin", "human"): ("guide",),
    (HOLDER, "agent", "shared"): ("guide",),
    (HOLDER, "agent", "personal"): ("guide",),
    (HOLDER, "agent", "human"): ("guide",),
    (BYSTANDER, "agent", "shared"): ("guide", "four-eyes"),
    (BYSTANDER, "admin", "shared"): ("guide", "four-eyes"),
    (BYSTANDER, "agent", "personal"): ("guide", "four-eyes", "strict"),
    (BYSTANDER, "admin", "personal"): ("guide", "four-eyes", "strict"),
    (BYSTANDER, "agent", "human"): MODES,
    (BYSTANDER, "admin", "human"): MODES,
    (BYSTANDER, "user", "shared"): (),
    (BYSTANDER, "user", "personal"): (),
    (BYSTANDER, "user", "human"): (),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("name", "role", "assurance"), MATRIX)
def test_who_may_decide(mode: str, name: str, role: str, assurance: str) -> None:
    assert may(mode, who(name, role, assurance)) == (mode in MATRIX[name, role, assurance])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("role", "expected"), [("user", False), ("agent", False), ("admin", True)])
def test_a_policy_may_demand_an_admin(mode: str, role: str, expected: bool) -> None:
    assert may(mode, who("alice", role, "human"), decider_role="admin") == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("guide", True), ("four-eyes", True), ("strict", False), ("human", False)],
)
def test_a_key_that_asked_under_another_name_never_decides_where_credentials_count(
    mode: str, expected: bool
) -> None:
    by = who(BYSTANDER, "agent", "personal")

    assert may(mode, by, requester_credential=by.credential) == expected


POLICIES = [
    ApprovalPolicy(name="a", priorities=["P0", "P1"], types=[], reason="Urgent.", expires_after=60),
    ApprovalPolicy(
        name="b", priorities=[], types=["deployment"], reason="Release.", decider_role="admin"
    ),
    ApprovalPolicy(
        name="c", priorities=["P3"], types=["incident"], reason="Rare.", expires_after=30
    ),
    ApprovalPolicy(name="d", priorities=["P0"], types=[], reason="Urgent.", expires_after=90),
]


@pytest.mark.parametrize(
    ("task_type", "priority", "expected"),
    [
        ("bugfix", "P0", ("a · d", "agent", 60, "Urgent.")),
        ("bugfix", "P1", ("a", "agent", 60, "Urgent.")),
        ("bugfix", "P2", None),
        ("deployment", "P3", ("b", "admin", None, "Release.")),
        ("deployment", "P0", ("b · a · d", "admin", 60, "Release. Urgent.")),
        ("incident", "P3", ("c", "agent", 30, "Rare.")),
        ("incident", "P2", None),
    ],
)
def test_the_strictest_demand_of_all_matching_policies_counts_in_any_order(
    task_type: str, priority: str, expected: tuple[object, ...] | None
) -> None:
    for policies in itertools.permutations(POLICIES):
        found = rules.demand_of(task_type, priority, policies)

        assert (None if found is None else dataclasses.astuple(found)) == expected


def test_many_names_and_reasons_fit_into_a_request() -> None:
    many = [
        ApprovalPolicy(name=f"{number:03}" + "x" * 97, reason=f"{number:03}" + "y" * 297)
        for number in range(50)
    ]

    found = rules.demand_of("bugfix", "P0", many)

    assert found is not None
    assert (len(found.policy), len(found.reason)) == (500, 1000)
    assert found.policy.endswith("…")


def test_a_policy_without_conditions_fits_every_task() -> None:
    assert rules.fits(ApprovalPolicy(name="all", priorities=[], types=[]), "anything", "P3")


def jsonb(value: Any) -> Any:
    """Return a value as PostgreSQL gives it back: numbers by their decimal digits, keys in another
    order.
    """
    if isinstance(value, float):
        digits = format(Decimal(repr(value)), "f").removeprefix("-" if value == 0 else "")
        return json.loads(digits)
    if isinstance(value, dict):
        return {key: jsonb(value[key]) for key in sorted(value, key=lambda key: (len(key), key))}
    return [jsonb(item) for item in value] if isinstance(value, list) else value


numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
contents = st.dictionaries(texts, values, max_size=4)


@settings(max_examples=300, deadline=None)
@given(contents)
def test_a_digest_is_the_same_after_any_database_stored_the_content(
    content: dict[str, Any],
) -> None:
    digest = rules.digest_of(content)

    assert rules.digest_of(json.loads(json.dumps(content))) == digest  # SQLite keeps the text
    assert rules.digest_of(jsonb(content)) == digest


@pytest.mark.parametrize(
    "number", [1e22, 1e23, 1.2345678901234567e18, 1.5e300, -0.0, 1.0, 5e-324, 0.1, 2**63 - 1]
)
def test_a_digest_survives_awkward_numbers(number: float) -> None:
    assert rules.digest_of({"a": jsonb(number)}) == rules.digest_of({"a": number})


@pytest.mark.parametrize(
    "other",
    [
        {"a": 2, "b": [1, "x"]},
        {"a": 1, "b": ["x", 1]},
        {"a": 1, "b": [1, "x "]},
        {"a": "1", "b": [1, "x"]},
        {"a": True, "b": [1, "x"]},
        {"a": 1, "b": [1, "x"], "c": None},
        {"A": 1, "b": [1, "x"]},
        {"a": 1.0000000000000002, "b": [1, "x"]},
    ],
)
def test_any_other_content_has_another_digest(other: dict[str, Any]) -> None:
    assert rules.digest_of(other) != rules.digest_of({"a": 1, "b": [1, "x"]})


def test_big_numbers_that_differ_have_different_digests() -> None:
    assert rules.digest_of({"a": 2**63 - 1}) != rules.digest_of({"a": 2**63 - 2})
