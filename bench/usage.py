"""The CPU time of programs and all that they have started, which a busy machine changes little."""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_by_name(roots: Mapping[str, int]) -> dict[str, float]:
    """Return the seconds used so far by each root and its descendants, except those that are roots too."""
    used, children = _processes()
    others = set(roots.values())
    return {name: _sum(pid, used, children, others - {pid}) for name, pid in roots.items()}


def _sum(
    pid: int, used: Mapping[int, float], children: Mapping[int, Sequence[int]], others: set[int]
) -> float:
    below = [child for child in children.get(pid, ()) if child not in others]
    return used.get(pid, 0.0) + sum(_sum(child, used, children, others) for child in below)


def _processes() -> tuple[dict[int, float], dict[int, list[int]]]:
    """Return what every process has used, what its ended children have used included, and who has whom."""
    used: dict[int, float] = {}
    children: defaultdict[int, list[int]] = defaultdict(list)
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        pid = int(path.parent.name)
        children[int(fields[1])].append(pid)
        used[pid] = sum(map(int, fields[11:15])) / _TICK
    return used, children


def postmaster(directory: Path) -> int | None:
    """Return the process of the embedded PostgreSQL below the directory, if there is one."""
    files = sorted(directory.glob("**/postmaster.pid"))
    return int(files[0].read_text().split()[0]) if files else None
