"""The environment: every reader fails naming the variable, and never shows a secret."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from orchestrator_site.auth.api_keys import read_keys
from orchestrator_site.config import env
from orchestrator_site.core.actors import Role

NAME = "ORCHESTRATOR_TEST_VALUE"


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("TRUE", True), ("yes", True), ("off", False), ("", False)]
)
def test_a_flag_is_read(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv(NAME, value)

    assert env.flag(NAME) is expected


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "  ")

    assert env.text(NAME, "default") == "default"
    assert env.integer(NAME, 7) == 7


READERS: list[tuple[Any, str]] = [
    (lambda: env.flag(NAME), "maybe"),
    (lambda: env.integer(NAME, 1), "1.5"),
    (lambda: env.integer(NAME, 1), "-1"),
    (lambda: env.integer(NAME, 1), "\N{ARABIC-INDIC DIGIT ONE}"),
    (lambda: env.integer(NAME, 5, least=5), "4"),
    (lambda: env.number(NAME, 1), "nan"),
    (lambda: env.number(NAME, 1), "0"),
    (lambda: env.number(NAME, 1), "inf"),
    (lambda: env.text(NAME, choices=("a", "b")), "c"),
]


@pytest.mark.parametrize(("read", "value"), READERS)
def test_a_bad_value_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, read: Any, value: str
) -> None:
    monkeypatch.setenv(NAME, value)

    with pytest.raises(ImproperlyConfigured, match=NAME):
        read()


def test_words_are_split_and_trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, " a, b ,,c")

    assert env.words(NAME) == ["a", "b", "c"]


def test_a_secret_may_lie_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("kept\n")
    monkeypatch.setenv(f"{NAME}_FILE", str(tmp_path / "secret"))

    assert env.secret(NAME) == "kept"


def test_a_missing_secret_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(f"{NAME}_FILE", str(tmp_path / "none"))

    with pytest.raises(ImproperlyConfigured, match=f"{NAME}_FILE"):
        env.secret(NAME)


def test_a_kept_secret_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    first = env.kept_secret(tmp_path / "made" / "secret")

    assert env.kept_secret(tmp_path / "made" / "secret") == first
    assert len(first) >= 32
    assert stat.S_IMODE(os.stat(tmp_path / "made" / "secret").st_mode) == 0o600


def test_a_database_url_is_read(tmp_path: Path) -> None:
    found = env.database("postgres://us%40er:p%2Fw@db:5433/name", data_dir=tmp_path)

    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"], found["NAME"]) == (
        "us@er",
        "p/w",
        "db",
        5433,
        "name",
    )


PREPARED = {"server_side_binding": True, "prepare_threshold": 5}


def test_the_drivers_parameters_reach_it(tmp_path: Path) -> None:
    url = "postgres://u:p@db.internal/name?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&connect_timeout=5"

    assert env.database(url, data_dir=tmp_path)["OPTIONS"] == {
        **PREPARED,
        "connect_timeout": "5",
        "application_name": "orchestrator",
        "sslmode": "verify-full",
        "sslrootcert": "/etc/ca.pem",
    }


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("sslmod=require", "DATABASE_URL has a parameter that PostgreSQL does not know: sslmod."),
        ("pool=true", "DATABASE_URL has a parameter that PostgreSQL does not know: pool."),
        ("password=p", "DATABASE_URL has a parameter that PostgreSQL does not know: password."),
        ("sslmode=require&sslmode=disable", "DATABASE_URL gives sslmode twice."),
    ],
)
def test_other_parameters_are_refused(tmp_path: Path, query: str, sentence: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refusal:
        env.database(f"postgres://u:p@db.internal/name?{query}", data_dir=tmp_path)

    assert str(refusal.value) == sentence


def test_a_path_of_a_socket_may_be_the_host(tmp_path: Path) -> None:
    assert env.database("postgres:///name?host=/run/postgresql", data_dir=tmp_path)["OPTIONS"] == {
        **PREPARED,
        "connect_timeout": 2,
        "application_name": "orchestrator",
        "host": "/run/postgresql",
    }


BAD_URLS = [
    "mysql://a/b",
    "postgres://host",
    "own-words",
    "postgres://u:pa#ss@host/name",
    "postgres://host:x/name",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_bad_database_url_is_refused_without_showing_it(tmp_path: Path, url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL") as refusal:
        env.database(url, data_dir=tmp_path)

    assert url not in str(refusal.value)


def test_api_keys_are_read_from_the_environment() -> None:
    keys, faults = read_keys(
        {
            "ORCHESTRATOR_API_KEY_DEV_AGENT": "dev:key:agent",
            "ORCHESTRATOR_API_KEY_ADMIN": "k2:admin",
            "OTHER": "x",
        }
    )

    assert [(key.name, key.role, key.length) for key in keys] == [
        ("admin", Role.ADMIN, 2),
        ("dev_agent", Role.AGENT, 7),
    ]
    assert faults == []


BAD_ENTRIES = {
    "no role": ("A", "secretkey"),
    "unknown role": ("A", "secretkey:root"),
    "role in capitals": ("A", "secretkey:ADMIN"),
    "no key": ("A", ":agent"),
    "key with a blank at its end": ("A", "secretkey :agent"),
    "key not ASCII": ("A", "sécretkey:agent"),
    "no name": ("", "secretkey:agent"),
    "reserved name": ("SYSTEM", "secretkey:agent"),
}


@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_a_malformed_api_key_is_a_fault_that_does_not_show_it(name: str) -> None:
    suffix, value = BAD_ENTRIES[name]

    keys, faults = read_keys({f"ORCHESTRATOR_API_KEY_{suffix}": value})

    assert keys == ()
    assert (
        len(faults) == 1
        and faults[0].startswith("ORCHESTRATOR_API_KEY_")
        and "cretkey" not in faults[0]
    )


@pytest.mark.parametrize("second", [("B", "k:user"), ("a", "other:user")])
def test_one_key_or_name_for_two_is_a_fault(second: tuple[str, str]) -> None:
    keys, faults = read_keys(
        {"ORCHESTRATOR_API_KEY_A": "k:agent", f"ORCHESTRATOR_API_KEY_{second[0]}": second[1]}
    )

    assert [key.name for key in keys] == ["a"]
    assert len(faults) == 1
