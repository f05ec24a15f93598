"""What programs see of themselves and of the database; `podling.core.doctor` makes findings of it."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta

from podling.core.fields import MAX_NAME_CHARACTERS, check_count, check_number, check_text
from podling.core.value import value

MOST_COUNTED_READY = 10_000
LATELY = timedelta(days=1)
MOST_BLOCKED_SHAPES = 20
MOST_BLOCKED_ROWS = 1000  # of each shape
MOST_COUNTED_FAILED = 10_000
MOST_PRIORITIES = 1000
"""The bounds of what a store looks at for a doctor."""

MOST_DISKS = MOST_ENGINES = 32
MOST_BYTES = 2.0**63


@value
class DiskFacts:
    """The file system below a directory; `name` says what lies there."""

    name: str
    path: str
    total_bytes: int
    free_bytes: int


@value
class EngineFacts:
    """A container engine as its worker finds it. `root` is its directory, if it is on that machine."""

    name: str
    version: str | None = None
    root: str | None = None
    problem: str | None = None


@value
class WorkerFacts:
    """What a worker tells once a minute. `at` is its wall clock at the moment of sending."""

    at: datetime
    disks: tuple[DiskFacts, ...] = ()
    engines: tuple[EngineFacts, ...] = ()


def check_facts(facts: WorkerFacts) -> None:
    """Refuse what would not show as it is, or nobody has: it is printed, and made part of commands.

    Raises InvalidInput.
    """
    check_count("disks", facts.disks, MOST_DISKS)
    check_count("engines", facts.engines, MOST_ENGINES)
    for number, disk in enumerate(facts.disks):
        check_text(f"disks.{number}.name", disk.name, MAX_NAME_CHARACTERS)
        check_text(f"disks.{number}.path", disk.path)
        check_number(f"disks.{number}.totalBytes", disk.total_bytes, 0, MOST_BYTES)
        check_number(f"disks.{number}.freeBytes", disk.free_bytes, 0, MOST_BYTES)
    for number, engine in enumerate(facts.engines):
        check_text(f"engines.{number}.name", engine.name, MAX_NAME_CHARACTERS)
        for name, text in (("version", engine.version), ("root", engine.root), ("problem", engine.problem)):
            if text is not None:
                check_text(f"engines.{number}.{name}", text)


@value
class OpenTransaction:
    """A transaction of this database that has been open for more than a minute."""

    process_id: int
    login: str
    application: str
    state: str
    seconds: float
    holds_back_vacuum: bool


@value
class TableFacts:
    name: str
    live_rows: int
    dead_rows: int
    total_bytes: int


@value
class ReplicaFacts:
    """The standby that lists are read from; with a `problem` the primary is read instead.

    `lag_seconds` is what was found last, `fallbacks` counts the reads that went to the primary.
    """

    where: str
    lag_seconds: float | None = None
    problem: str | None = None
    fallbacks: int = 0


@value
class DatabaseFacts:
    """`settings` are those of Podling's own sessions. `hidden_sessions` belong to other logins."""

    now: datetime
    version: int  # 180004
    version_name: str
    schema_version: int
    known_schema_version: int
    settings: Mapping[str, str]
    connections: int
    pool_size: int
    hidden_sessions: int = 0
    transactions: tuple[OpenTransaction, ...] = ()
    prepared: tuple[str, ...] = ()
    idle_slots: tuple[str, ...] = ()
    tables: tuple[TableFacts, ...] = ()
    total_bytes: int = 0
    replica: ReplicaFacts | None = None


@value
class WaitingTasks:
    """Pending tasks of one kind: how many, and the one that has waited longest since it was due.

    A store that would have to read very many counts up to a limit, and looks at those who come first.
    """

    tasks: int
    task_id: str
    since: datetime


@value
class InboxDepth:
    """What programs have left by SQL and no leader has taken in yet, counted up to a limit.

    An item is as old as its transaction says, which may have ended much later.
    """

    items: int = 0
    oldest_seconds: float | None = None


@value
class StoreFacts:
    """`ready` wait for the planner, `blocked` (by shape) for a node. `failed_lately` counts tasks of
    the last day, up to a limit. `database` is None for a store without one."""

    kind: str
    ready: WaitingTasks | None = None
    blocked: Mapping[str, WaitingTasks] = field(default_factory=dict)
    failed_lately: int = 0
    database: DatabaseFacts | None = None
