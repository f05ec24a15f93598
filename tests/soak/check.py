"""Compares what was accepted, what the store says and what the ledger says. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.soak.ledger import Ledger
from tests.soak.mix import Work, wanted_end

ENDED = ("completed", "failed", "cancelled")
FORGETFUL_SECONDS = 15.0  # a start under way may outlive its engine by so much
LOSSES = ("EXTERNAL", "RUNTIME", "UNKNOWN_EXIT", "NODE_LOST", "DISCONNECTED", "DRAINED", "UNKNOWN")


@dataclass(frozen=True, slots=True)
class StoredTask:
    task_id: str
    name: str
    status: str
    attempt: int
    error_code: str | None = None
    exit_code: int | None = None
    reason: str | None = None  # why it is held, or has ended badly


@dataclass(frozen=True, slots=True)
class StoredAttempt:
    task_id: str
    attempt: int
    status: str
    error_code: str | None
    exit_code: int | None
    started: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """A submit that was answered; `task_ids` are all ids that its key was given."""

    work: Work
    task_ids: frozenset[str]


@dataclass(slots=True)
class Findings:
    """Sentences by kind of violation. Others are no violations: `overlaps`, `held`, and `forgotten`:
    attempts of `at_least_once` started again because their engine was killed during the first start
    and says since then that it had not happened."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    started_twice: list[str] = field(default_factory=list)
    inconsistent: list[str] = field(default_factory=list)
    wrong_end: list[str] = field(default_factory=list)
    overlaps: int = 0
    held: int = 0
    forgotten: int = 0

    def violations(self) -> dict[str, list[str]]:
        kinds = ("lost", "doubled", "started_twice", "inconsistent", "wrong_end")
        return {kind: found for kind in kinds if (found := getattr(self, kind))}


def check(
    accepted: Sequence[Accepted],
    stored: Sequence[StoredTask],
    attempts: Sequence[StoredAttempt],
    ledger: Ledger,
    engine_kills: Sequence[float] = (),
) -> Findings:
    """Return everything that must not be. `engine_kills` are times on the ledger's clock."""
    findings = Findings()
    by_id = {task.task_id: task for task in stored}
    rows: dict[str, list[StoredAttempt]] = {}
    for row in sorted(attempts, key=lambda row: row.attempt):
        rows.setdefault(row.task_id, []).append(row)
    starts = ledger.starts_of_task()
    for one in accepted:
        _check_accepted(one, by_id, findings)
        for task_id in one.task_ids & by_id.keys():
            task, tries = by_id[task_id], rows.get(task_id, [])
            findings.inconsistent += _inconsistencies(task, tries)
            findings.doubled += _doubled(one.work, task, tries, starts.get(task_id, 0))
            findings.wrong_end += _wrong_ends(one.work, task, tries, ledger)
            findings.held += task.status not in ENDED and bool(task.reason)
    names = [task.name for task in stored]
    if len(names) != len(set(names)):
        twice = sorted({name for name in names if names.count(name) > 1})
        findings.doubled += [f"{name}: more than one task of one key" for name in twice]
    works = {task_id: one.work for one in accepted for task_id in one.task_ids}
    for (task_id, number), times in ledger.started_at.items():
        if len(times) > 1 and _was_forgotten(works.get(task_id), times, engine_kills):
            findings.forgotten += 1
        elif len(times) > 1:
            findings.started_twice.append(f"{task_id} attempt {number} was started {len(times)} times")
    findings.inconsistent += [
        f"{task_id} attempt {number} is in the ledger and not in the store"
        for task_id, number in ledger.starts
        if number not in {row.attempt for row in rows.get(task_id, [])}
    ]
    findings.overlaps = _overlaps(ledger)
    return findings


def _check_accepted(one: Accepted, by_id: Mapping[str, StoredTask], findings: Findings) -> None:
    if len(one.task_ids) > 1:
        findings.doubled.append(f"{one.work.name}: one key became {', '.join(sorted(one.task_ids))}")
    for task_id in one.task_ids:
        task = by_id.get(task_id)
        if task is None:
            findings.lost.append(f"{task_id} ({one.work.name}) was accepted and is not in the store")
        elif task.status not in ENDED and not task.reason:
            findings.lost.append(f"{task_id} ({one.work.name}) is {task.status} without a reason")


def _inconsistencies(task: StoredTask, tries: Sequence[StoredAttempt]) -> Iterator[str]:
    numbers = [row.attempt for row in tries]
    if numbers != list(range(1, len(numbers) + 1)) or task.attempt != len(numbers):
        yield f"{task.task_id}: attempts {numbers}, and the task says {task.attempt}"
    live = [row for row in tries if row.status in ("scheduled", "running")]
    if task.status in ENDED and live:
        yield f"{task.task_id} is {task.status} and has live attempts"
    if len(live) > 1 or any(row.attempt != task.attempt for row in live):
        yield f"{task.task_id} has more than one live attempt, or an old one"
    if task.status == "completed" and not (tries and tries[-1].status == "completed"):
        yield f"{task.task_id} is completed, its last attempt is not"
    if task.status == "failed" and not task.error_code:
        yield f"{task.task_id} failed without a reason"


def _doubled(work: Work, task: StoredTask, tries: Sequence[StoredAttempt], starts: int) -> Iterator[str]:
    if not work.behaviour.at_most_once:
        return
    if starts > 1:
        yield f"{task.task_id} ({work.runtime}) is at_most_once and was started {starts} times"
    if sum(row.started for row in tries) > 1:
        yield f"{task.task_id} ({work.runtime}) is at_most_once and has more than one started attempt"


def _wrong_ends(
    work: Work, task: StoredTask, tries: Sequence[StoredAttempt], ledger: Ledger
) -> Iterator[str]:
    if task.status not in ENDED:
        return
    was_lost = work.behaviour.may_be_lost and task.error_code in LOSSES
    if task.status not in wanted_end(work) and not was_lost:
        yield (
            f"{task.task_id} ({work.name}, {work.runtime}, {work.behaviour.name}) ended {task.status} "
            f"{task.error_code} after {task.attempt} attempts: {task.reason}"
        )
    if work.runtime == "simulated":
        return
    for row in tries:
        told = row.exit_code is not None and row.error_code in (None, "EXIT_CODE")
        if told and not ledger.ends[(task.task_id, row.attempt)]:
            yield f"{task.task_id} attempt {row.attempt} has exit code {row.exit_code} and wrote no end"


def _was_forgotten(work: Work | None, times: Sequence[float], engine_kills: Sequence[float]) -> bool:
    if work is None or work.runtime != "docker" or work.behaviour.at_most_once or len(times) != 2:
        return False
    first, second = sorted(times)
    return any(first - FORGETFUL_SECONDS <= at <= second for at in engine_kills)


def _overlaps(ledger: Ledger) -> int:
    """Count attempts that were started while an older one of their task had not ended yet."""
    count = 0
    for (task_id, number), started_at in ledger.started_at.items():
        before = (task_id, number - 1)
        if before in ledger.ended_at and ledger.ended_at[before] > min(started_at):
            count += 1
    return count


def as_dict(findings: Findings) -> dict[str, Any]:
    """Return the numbers for the result."""
    return {
        "lost": len(findings.lost),
        "doubled": len(findings.doubled),
        "startedTwice": len(findings.started_twice),
        "inconsistent": len(findings.inconsistent),
        "wrongEnd": len(findings.wrong_end),
        "overlaps": findings.overlaps,
        "held": findings.held,
        "forgotten": findings.forgotten,
    }
