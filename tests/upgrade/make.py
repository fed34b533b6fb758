"""Make the fixtures of the upgrade test from an older commit: `python -m tests.upgrade.make
[COMMIT]`.

Needs git with that commit, and the programs of PostgreSQL. For each store it starts that commit's
code on an empty database, has `fill.py` put rows into every table, and writes the database as SQL
beside what the tests must know.
"""

import io
import re
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.stores import environment
from tests.support.servers import private_postgres, program

HERE = Path(__file__).parent
COMMIT = "ae3099b"
SETTINGS = {
    "ORCHESTRATOR_ENV": "development",
    "ORCHESTRATOR_RATE_LIMIT_SCALE": "1000",
    "ORCHESTRATOR_WEBHOOK_ALLOW_NETS": "127.0.0.0/8",
}
SESSION = re.compile(r"^(--|SET |\\|SELECT pg_catalog\.set_config|$)")  # not part of the data


def main(commit: str) -> None:
    with tempfile.TemporaryDirectory() as folder, private_postgres() as postgres:
        tree = Path(folder, "tree")
        archive = subprocess.run(["git", "archive", commit], stdout=subprocess.PIPE, check=True)
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(tree, filter="data")
        fill(tree, "sqlite", DATA_DIR=folder)
        with sqlite3.connect(Path(folder, "orchestrator.sqlite3")) as database:
            write("sqlite.sql", "\n".join(database.iterdump()))
        fill(tree, "postgres", DATA_DIR=folder, DATABASE_URL=postgres.url)
        write("postgres.sql", dump(postgres.url))


def fill(tree: Path, store: str, **settings: str) -> None:
    """Migrate and fill a database with the code of a tree."""
    given = environment() | SETTINGS | settings
    manage = [sys.executable, "manage.py"]
    subprocess.run([*manage, "migrate"], cwd=tree, env=given, check=True)
    with open(HERE / "fill.py") as program:
        shell = subprocess.run(
            [*manage, "shell", "-v", "0"],
            cwd=tree,
            env=given,
            check=True,
            stdin=program,
            stdout=subprocess.PIPE,
            text=True,
        )
    write(f"{store}.json", shell.stdout)


def dump(url: str) -> str:
    """Return a PostgreSQL database as SQL that any session can run."""
    options = ["--inserts", "--no-owner", "--no-privileges", "--no-comments"]
    command = [program("pg_dump") or "pg_dump", *options, url]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return "\n".join(line for line in text.splitlines() if not SESSION.match(line))


def write(name: str, text: str) -> None:
    (HERE / name).write_text(text.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:] or [COMMIT])
