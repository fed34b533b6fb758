"""Commands run one after the other, or side by side with what each prints kept together."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parent.parent.parent
SECONDS_BETWEEN_PROGRESS = 30.0
SECONDS_TO_END = 20.0  # what a stopped run has to end the servers it started


@dataclasses.dataclass
class Run:
    """A command.

    environment: all it gets. terminal: whether it reads from ours, as debuggers do.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    terminal: bool = False
    status: int = 0  # its exit status once it has ended, 128 and the signal's number if killed
    seconds: float = 0.0

    def start(self, output: IO[bytes] | None = None) -> "subprocess.Popen[bytes]":
        """Start it, in a process group of its own so that Ctrl-C reaches us alone.

        output: where what it prints goes instead of to our output.
        """
        redirected: dict[str, Any] = {"stdout": output, "stderr": subprocess.STDOUT}
        return subprocess.Popen(
            self.command,
            cwd=ROOT,
            env=self.environment,
            process_group=None if self.terminal else 0,
            **(redirected if output else {}),
        )

    def ended(self, status: int, began: float) -> None:
        """Note how it ended."""
        self.status = status if status >= 0 else 128 - status
        self.seconds = time.monotonic() - began


def run_alone(run: Run) -> None:
    """Run a command to its end; what it prints is seen at once."""
    print(f"\n=== {run.name} ===", flush=True)
    began = time.monotonic()
    process = run.start()
    try:
        run.ended(process.wait(), began)
    except BaseException:
        end([process])
        raise


def run_together(runs: Sequence[Run]) -> None:
    """Run commands side by side.

    What each prints is shown as a whole when it ends, until then every half minute its last line.
    """
    print(f"\n=== side by side: {' · '.join(run.name for run in runs)} ===", flush=True)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        outputs = [stack.enter_context(tempfile.NamedTemporaryFile()) for _ in runs]
        going = {}
        try:
            for place, (run, output) in enumerate(zip(runs, outputs, strict=True)):
                going[place] = run.start(output.file)
            show(runs, [Path(output.name) for output in outputs], going, began)
        except BaseException:
            end(list(going.values()))
            raise


def show(
    runs: Sequence[Run],
    outputs: list[Path],
    going: "dict[int, subprocess.Popen[bytes]]",
    began: float,
) -> None:
    """Print what the commands print, as they end.

    going: their processes, by place in `runs`; taken out when they have ended.
    """
    next_at = began + SECONDS_BETWEEN_PROGRESS
    while going:
        time.sleep(0.1)
        for place, process in list(going.items()):
            if (status := process.poll()) is not None:
                runs[place].ended(status, began)
                print(f"\n=== {runs[place].name} ===\n{text(outputs[place])}", flush=True)
                del going[place]
        if time.monotonic() >= next_at:
            next_at += SECONDS_BETWEEN_PROGRESS
            for place in going:
                last = text(outputs[place]).rstrip().rpartition("\n")[2]
                print(
                    f"{runs[place].name}, {minutes(time.monotonic() - began)}: {last}", flush=True
                )


def text(output: Path) -> str:
    """Return what was printed so far."""
    return output.read_text(errors="replace")


def minutes(seconds: float) -> str:
    """Return such as `5:07`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def end(processes: "list[subprocess.Popen[bytes]]") -> None:
    """Interrupt processes, so that they end what they started; kill those that do not end."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGINT)
    deadline = time.monotonic() + SECONDS_TO_END
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        process.kill()
        process.wait()
