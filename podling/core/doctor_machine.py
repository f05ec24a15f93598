"""Findings about machines: clocks, versions, disks, engines."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from podling.core.facts import DiskFacts, EngineFacts
from podling.core.findings import Finding, Severity, size_of, span

CLOCK_WARNING_SECONDS = 2.0
CLOCK_PROBLEM_SECONDS = 60.0
LOW_SHARE, LOW_BYTES = 0.10, 20 * 2**30
FULL_SHARE, FULL_BYTES = 0.03, 2 * 2**30
OLDEST_ENGINE = (20, 10)


def skew(told: datetime, before: datetime, after: datetime) -> float:
    """Return by how many seconds a clock is surely off that was read between two moments of ours."""
    if told > after:
        return (told - after).total_seconds()
    return min(0.0, (told - before).total_seconds())


def examine_clock(subject: str, other: str, ahead_seconds: float) -> Iterator[Finding]:
    """Look at how far the subject's clock is ahead of the other's (negative: behind)."""
    off = abs(ahead_seconds)
    if off < CLOCK_WARNING_SECONDS:
        return
    yield Finding(
        severity=Severity.PROBLEM if off >= CLOCK_PROBLEM_SECONDS else Severity.WARNING,
        code="clock_skew",
        subject=subject,
        message=f"its clock is {span(off)} {'ahead of' if ahead_seconds > 0 else 'behind'} that of {other}",
        meaning="leases hold, but runAt, schedules and the times that are shown are off by as much",
        remedy="let one time service keep all clocks",
        command="timedatectl set-ntp true",
    )


def examine_disks(subject: str, disks: Sequence[DiskFacts]) -> Iterator[Finding]:
    """Look at what is free where the subject's data lie."""
    for disk in disks:
        share = disk.free_bytes / disk.total_bytes if disk.total_bytes else 1.0
        full = share < FULL_SHARE and disk.free_bytes < FULL_BYTES
        if not full and not (share < LOW_SHARE and disk.free_bytes < LOW_BYTES):
            continue
        yield Finding(
            severity=Severity.PROBLEM if full else Severity.WARNING,
            code="disk_full" if full else "disk_low",
            subject=subject,
            message=f"{size_of(disk.free_bytes)} of {size_of(disk.total_bytes)} are free for its {disk.name}",
            meaning="when it is full, nothing new can be written there: tasks wait or fail",
            remedy="free some space, or move it to a larger disk",
            command=f"du -xh --max-depth=2 {shlex.quote(disk.path)} | sort -h | tail",
        )


def examine_engines(subject: str, engines: Sequence[EngineFacts]) -> Iterator[Finding]:
    """Look at the engines that a worker uses."""
    for engine in engines:
        if engine.problem is not None:
            yield Finding(
                severity=Severity.PROBLEM,
                code="engine_away",
                subject=subject,
                message=f"{engine.name}: {engine.problem}",
                meaning="the worker takes no containers, and knows of none that ended, until it is back",
                remedy="start the engine on that machine and look into its log",
                command="systemctl restart docker" if engine.name == "docker" else None,
            )
        elif _numbers(engine.version) < OLDEST_ENGINE:
            yield Finding(
                severity=Severity.WARNING,
                code="engine_old",
                subject=subject,
                message=f"{engine.name} is of version {engine.version}",
                meaning="Podling is tried with 20.10 and newer",
                remedy="upgrade the engine",
            )


def _numbers(version: str | None) -> tuple[int, ...]:
    """Return the first two numbers; of what is none, something new enough."""
    parts = (version or "").split(".")[:2]
    return tuple(map(int, parts)) if len(parts) == 2 and all(map(str.isdecimal, parts)) else OLDEST_ENGINE


def examine_versions(masters: Mapping[str, str], workers: Mapping[str, str | None]) -> Iterator[Finding]:
    """Look at the versions that run; the keys are how each is called."""
    if not masters:
        return
    newest = max(masters.values(), key=_release)
    for subject, version in masters.items():
        if version != newest:
            yield _version(
                subject, version, newest, "finish the upgrade: restart this master on the new version"
            )
    for subject, told in workers.items():
        if told and _release(told) > _release(newest):
            yield _version(subject, told, newest, "upgrade the masters first, then the workers")
        elif told and told != newest:
            yield _version(
                subject, told, newest, "restart this worker on the new version; its containers go on"
            )


def _release(version: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in version.split("."))


def _version(subject: str, version: str, newest: str, remedy: str) -> Finding:
    return Finding(
        severity=Severity.WARNING,
        code="version_skew",
        subject=subject,
        message=f"it runs version {version}, the newest master {newest}",
        meaning="two neighbouring versions work together while an upgrade lasts, and not for ever",
        remedy=remedy,
    )
