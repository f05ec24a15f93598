"""What the machine has, and how much of it is for tasks."""

import os
from collections.abc import Mapping
from pathlib import Path

from podling.core.spec import CPU, MEMORY, SLOTS

DEFAULT_SLOTS = 16
RESERVED_SHARE = 0.05
LEAST_RESERVED = {CPU: 100, MEMORY: 256 * 1024 * 1024}
"""Kept back for the engine, the worker and the system: a twentieth, and at least this much."""
MOST_RESERVED_SHARE = 0.5  # of a machine so small that the least would take all of it

_CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60


def detect_machine() -> dict[str, int]:
    """Return millicores and bytes that this program may use, the limits of its cgroup respected."""
    cpu = len(os.sched_getaffinity(0)) * 1000
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {CPU: min(cpu, _cgroup_cpu()), MEMORY: min(memory, _cgroup_memory())}


def _cgroup_cpu() -> int:
    quota, period = _numbers(_CGROUP / "cpu.max")[:2] or (0, 0)
    if not quota or not period:
        quota = next(iter(_numbers(_CGROUP / "cpu/cpu.cfs_quota_us")), 0)
        period = next(iter(_numbers(_CGROUP / "cpu/cpu.cfs_period_us")), 0)
    return quota * 1000 // period if quota > 0 and period > 0 else _UNLIMITED


def _cgroup_memory() -> int:
    limits = [
        *_numbers(_CGROUP / "memory.max"),
        *_numbers(_CGROUP / "memory/memory.limit_in_bytes"),
    ]
    return min((limit for limit in limits if limit > 0), default=_UNLIMITED)


def _numbers(path: Path) -> list[int]:
    """Return the numbers of a file of the cgroup; none where there is no such file or no limit."""
    try:
        words = path.read_text(encoding="ascii").split()
    except OSError:
        return []
    numbers = [word for word in words if word.lstrip("-").isdecimal()]
    return [int(word) for word in numbers] if len(numbers) == len(words) else []


def capacity_of(
    detected: Mapping[str, int],
    *,
    slots: int | None,
    cpu: int | None,
    memory: int | None,
    resources: Mapping[str, int] | None = None,
) -> tuple[dict[str, int], dict[str, int]]:
    """Return capacity and what tasks may use of it. What an operator gave is for tasks in full."""
    others = resources or {}
    capacity = {**others, **detected, SLOTS: slots or DEFAULT_SLOTS}
    allocatable = {CPU: _rest(CPU, detected[CPU]), MEMORY: _rest(MEMORY, detected[MEMORY])}
    for name, given in ((CPU, cpu), (MEMORY, memory)):
        if given is not None:
            capacity[name] = allocatable[name] = given
    return capacity, {**others, **allocatable, SLOTS: capacity[SLOTS]}


def _rest(name: str, amount: int) -> int:
    wanted = max(LEAST_RESERVED[name], int(amount * RESERVED_SHARE))
    return amount - min(wanted, int(amount * MOST_RESERVED_SHARE))
