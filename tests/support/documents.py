"""What is written in our pages, taken apart: code blocks, tables, links.

And ways to run the code.
"""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
FENCE = re.compile(r"^([ \t]*)```(\w*)[ \t]*\n(.*?)^\1```[ \t]*$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
NODE_MODULES = ROOT / "build" / "node" / "node_modules"
PYTHON = sys.executable
TIMEOUT = 90  # seconds, for one run of code
REFUSED = re.compile(r"# → (\d{3})\n")
STRICT = """set -eo pipefail
ERRORS=$(mktemp); trap 'rm -f $ERRORS' EXIT
curl() { command curl --silent --show-error --fail-with-body --max-time 30 "$@"; }
"""
MARK = "\x1e"  # before the output of each block comes this, its line, and a newline


@dataclasses.dataclass(frozen=True)
class Block:
    """A code block of a page.

    line: of its opening fence. before: the last line of prose above it.
    """

    language: str
    text: str
    line: int
    heading: str
    before: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.heading}"


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    return [block(text, found) for found in FENCE.finditer(text)]


def block(text: str, found: re.Match[str]) -> Block:
    """Return one block with where it stands."""
    above = re.sub(FENCE, "", text[: found.start()])
    headings = HEADING.findall(above)
    prose = [line for line in above.splitlines() if line.strip()]
    return Block(
        language=found[2],
        text=found[3],
        line=text.count("\n", 0, found.start()) + 1,
        heading=headings[-1] if headings else "",
        before=prose[-1] if prose else "",
    )


def tables(page: Path) -> Iterator[list[list[str]]]:
    """Yield the tables of a page as rows of cells; the first row is the head."""
    rows: list[list[str]] = []
    for line in [*page.read_text(encoding="utf-8").splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))])
        elif rows:
            yield [rows[0], *rows[2:]]
            rows = []


def table(page: Path, head: str) -> list[list[str]]:
    """Return the rows below the head of the table whose first column has this title."""
    return next(found[1:] for found in tables(page) if found[0][0] == head)


def shape(value: Any) -> Any:
    """Return JSON data with every value replaced by its kind; of a list the first item counts."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return (
        "number"
        if isinstance(value, int | float) and not isinstance(value, bool)
        else type(value).__name__
    )


def missing(documented: Any, real: Any, path: str = "") -> list[str]:
    """Return where an answer lacks what the page shows, or has it as another kind.

    null may stand for any kind.
    """
    if documented is None or real is None:
        return []
    if isinstance(documented, dict) and isinstance(real, dict):
        lacking = [f"{path}.{name} is missing" for name in documented.keys() - real.keys()]
        inner = [
            missing(value, real[name], f"{path}.{name}")
            for name, value in documented.items()
            if name in real
        ]
        return lacking + [fault for faults in inner for fault in faults]
    if isinstance(documented, list) and isinstance(real, list):
        if documented and not real:
            return [f"{path} is empty"]
        return missing(documented[0], real[0], f"{path}[0]") if documented else []
    if shape(documented) != shape(real):
        return [f"{path} is {shape(real)}, not {shape(documented)}"]
    return []


def run(command: list[str], *, text: str = "", environment: dict[str, str] | None = None) -> str:
    """Run a program with `text` as its input; return what it printed. A failure shows all of it."""
    done = subprocess.run(
        command,
        input=text,
        env=os.environ | (environment or {}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, (
        f"{command[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    )
    return done.stdout


def run_bash(
    parts: list[tuple[int, str]], *, environment: dict[str, str] | None = None, head: str = STRICT
) -> dict[int, str]:
    """Run pieces of shell in one session, as somebody who pastes them; return what each printed, by
    its line.

    As STRICT has it, the first command that fails ends it, and an HTTP refusal is a failure of
    curl. Only a piece that says `# → 409` or the like must be refused, with that code.
    """
    script = head + "".join(f"printf '{MARK}{line}\\n'\n{refused(text)}\n" for line, text in parts)
    return by_line(run(["bash", "-s"], text=script, environment=environment))


def refused(text: str) -> str:
    """Return a piece of shell turned round, if it says that it is refused."""
    if not (code := REFUSED.match(text)):
        return text
    told = f"grep --quiet 'error: {code[1]}' $ERRORS || {{ cat $ERRORS >&2; false; }}"
    return f"if ( {text}\n) 2>$ERRORS; then false; fi; {told}"


def run_python(
    parts: list[tuple[int, str]], *, environment: dict[str, str] | None = None
) -> dict[int, str]:
    """Run pieces of Python in one interpreter; return what each printed, by its line."""
    script = "".join(f"print('{MARK}{line}')\n{text}\n" for line, text in parts)
    return by_line(run([PYTHON, "-"], text=script, environment=environment))


def run_node(text: str, *, environment: dict[str, str] | None = None) -> str:
    """Run one piece of JavaScript; return what it printed."""
    return run(
        ["node", "-"],
        text=text,
        environment={"NODE_PATH": str(NODE_MODULES), **(environment or {})},
    )


def by_line(output: str) -> dict[int, str]:
    """Return what was printed after each mark."""
    parts = (part.partition("\n") for part in output.split(MARK)[1:])
    return {int(line): text for line, _, text in parts}


def json_in(output: str) -> Any:
    """Return the last JSON object in what a block printed; None if there is none."""
    found, at = None, output.find("{")
    while at >= 0:
        try:
            found, end = json.JSONDecoder().raw_decode(output, at)
        except json.JSONDecodeError:
            end = at + 1
        at = output.find("{", end)
    return found


def why_no_node() -> str:
    """Return why JavaScript cannot be run here, or nothing."""
    if not shutil.which("node"):
        return "there is no node on this machine"
    if not (NODE_MODULES / "axios").is_dir() or not (NODE_MODULES / "jsonwebtoken").is_dir():
        return "axios and jsonwebtoken are not installed: make node-modules"
    return ""
