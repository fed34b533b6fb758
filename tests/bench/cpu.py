"""The CPU time that processes and all their descendants have used, where /proc tells (Linux)."""

import contextlib
import os
from pathlib import Path

PROC = Path("/proc")


def cpu_seconds(roots: list[int], proc: Path = PROC) -> float | None:
    """Return what the processes of these ids and their descendants have used so far.

    Those that ended count too, once their parent has waited for them. None where there is no /proc.
    """
    processes = read(proc)
    if not processes.keys() >= set(roots):
        return None
    tree = set(roots)
    while more := {pid for pid, (parent, _) in processes.items() if parent in tree} - tree:
        tree |= more
    return sum(processes[pid][1] for pid in tree) / os.sysconf("SC_CLK_TCK")


def read(proc: Path) -> dict[int, tuple[int, int]]:
    """Return the parent and the clock ticks of every process, its ended children's included."""
    processes = {}
    for place in proc.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            fields = place.read_text().rpartition(")")[2].split()  # of proc(5), from the third on
            processes[int(place.parent.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    return processes
