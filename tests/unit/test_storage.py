"""The folder of the embedded store: for its owner, one server at a time, faults in a sentence."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError

from orchestrator_site.config import env, startup
from orchestrator_site.infra import storage
from orchestrator_site.infra.sqlite.base import DatabaseWrapper


@pytest.fixture
def wide_umask() -> Iterator[None]:
    """An account whose files everybody may read and write."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def embedded(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings of an embedded store in a folder of its own; its file."""
    place = tmp_path / "orchestrator.sqlite3"
    place.touch()
    settings.DATABASE_URL = ""
    monkeypatch.setitem(settings.DATABASES["default"], "NAME", place)
    return place


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("wide_umask")
def test_a_new_store_is_for_its_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    entry: dict[str, Any] = env.database("", data_dir=tmp_path / "made" / "data")
    env.kept_secret(tmp_path / "made" / "data" / "secret")
    store = DatabaseWrapper(
        {**entry, "TIME_ZONE": None, "AUTOCOMMIT": True, "CONN_HEALTH_CHECKS": False}
    )

    with store.get_new_connection(store.get_connection_params()) as connection:
        connection.execute("CREATE TABLE thing (name)")
        files = list((tmp_path / "made" / "data").iterdir())

        assert {path.name for path in files} >= {
            "orchestrator.sqlite3",
            "orchestrator.sqlite3-wal",
            "secret",
        }
        assert {mode(path) for path in files} == {0o600}
        assert mode(tmp_path / "made" / "data") == 0o700
    connection.close()


@pytest.mark.usefixtures("wide_umask")
def test_a_loose_store_is_tightened_and_what_was_is_told(embedded: Path) -> None:
    embedded.parent.chmod(0o755)
    wal = embedded.with_name("orchestrator.sqlite3-wal")
    wal.touch()
    other = embedded.with_name("notes.txt")
    other.touch()

    assert storage.tighten(embedded.parent) == [embedded.parent, embedded, wal]
    assert [mode(path) for path in (embedded.parent, embedded, wal)] == [0o700, 0o600, 0o600]
    assert mode(other) == 0o666, "it is not ours"
    assert storage.tighten(embedded.parent) == []


def test_a_folder_for_everybody_keeps_its_rights(embedded: Path) -> None:
    embedded.parent.chmod(0o1777)
    embedded.chmod(0o644)

    assert storage.tighten(embedded.parent) == [embedded]
    assert mode(embedded.parent) == 0o1777


def test_one_lock_on_a_folder_at_a_time(tmp_path: Path) -> None:
    first = storage.take_lock(tmp_path)

    with pytest.raises(storage.InUse, match=f"process {os.getpid()}"):
        storage.take_lock(tmp_path)
    first.close()
    storage.take_lock(tmp_path).close()
    assert mode(tmp_path / "lock") == 0o600


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("database or disk is full", "is full. Make room."),
        ("attempt to write a readonly database", "cannot be written. Let this account write"),
        ("unable to open database file", "cannot be opened. Let this account write"),
        ("database is locked", "Another process writes to"),
        ("no such table: x", "fails: no such table: x."),
    ],
)
def test_a_fault_of_the_store_is_a_sentence_that_says_what_to_do(
    embedded: Path, said: str, told: str
) -> None:
    sentence = startup.sentence(OperationalError(said))

    assert told in sentence and str(embedded) in sentence and "\n" not in sentence


def test_a_fault_of_postgresql_is_its_first_line(settings: Any) -> None:
    settings.DATABASE_URL = "postgres://u:hidden@db.internal/orchestrator"

    sentence = startup.sentence(OperationalError("connection refused\nIs the server running?"))

    assert sentence == "The database does not answer: connection refused."


def disk(monkeypatch: pytest.MonkeyPatch, *, free: int) -> None:
    monkeypatch.setattr(
        "orchestrator_site.infra.storage.os.statvfs",
        lambda _: SimpleNamespace(f_bavail=free, f_frsize=1),
    )


def test_a_disk_with_room_is_no_fault(embedded: Path) -> None:
    assert storage.fault_of_disk() == ""


@pytest.mark.parametrize(
    ("free", "full"), [(storage.LEAST_FREE, False), (storage.LEAST_FREE - 1, True)]
)
def test_a_disk_with_less_than_a_mebibyte_is_full(
    embedded: Path, monkeypatch: pytest.MonkeyPatch, free: int, full: bool
) -> None:
    disk(monkeypatch, free=free)

    assert ("is full" in storage.fault_of_disk()) is full


def test_a_file_that_cannot_be_written_is_named(
    embedded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "orchestrator_site.infra.storage.os.access", lambda *_: False
    )  # root may write anything

    assert storage.fault_of_disk() == storage.READ_ONLY.format(place=embedded)


def test_a_folder_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(
        ImproperlyConfigured, match=f"{tmp_path}/file cannot be used: .* Set DATA_DIR"
    ):
        env.folder(tmp_path / "file")


def test_a_full_disk_is_said_while_secrets_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("orchestrator_site.config.env.secrets.token_urlsafe", full)

    with pytest.raises(ImproperlyConfigured, match=r"is full\. Make room"):
        env.kept_secret(tmp_path / "secret")
    assert list(tmp_path.iterdir()) == [], "half of a secret is none"


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="Only Linux lists its locks.")
def test_a_connection_more_leaves_the_locks_of_the_others(tmp_path: Path) -> None:
    entry: dict[str, Any] = env.database("", data_dir=tmp_path)
    stores = [
        DatabaseWrapper(
            {**entry, "TIME_ZONE": None, "AUTOCOMMIT": True, "CONN_HEALTH_CHECKS": False}
        )
        for _ in range(2)
    ]
    first = stores[0].get_new_connection(stores[0].get_connection_params())
    first.execute("CREATE TABLE thing (name)")
    place = os.fspath(entry["NAME"])
    number = os.stat(place).st_ino

    held = [line for line in Path("/proc/locks").read_text().splitlines() if f":{number} " in line]
    second = stores[1].get_new_connection(stores[1].get_connection_params())
    still = [line for line in Path("/proc/locks").read_text().splitlines() if f":{number} " in line]

    assert held and still
    first.close()
    second.close()
