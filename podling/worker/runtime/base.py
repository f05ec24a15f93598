"""What the worker asks of a container runtime. One container at a time; the agent joins them.

Two-phase: `prepare` fetches the image and creates, `start` starts. Calls raise RuntimeFailure with
an error code of `podling.core.retry`; every call has a deadline of its own.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from podling.core.logrecord import LogRecord
from podling.core.spec import ContainerSpec, Logging
from podling.core.task import HealthStatus
from podling.core.value import value


@value
class Given:
    """What the program inside speaks to its cluster with; a `directory` of this machine is to be mounted."""

    environment: Mapping[str, str] = field(repr=False)
    directory: str | None = None
    mounted_at: str = ""


@value
class Speech:
    """What a runtime without environments of its attempts makes up their credentials with."""

    api: str
    node_id: str
    key: str = field(repr=False)  # in hexadecimal digits


@value
class ContainerWork:
    """One container of one attempt, with the name that tells a repeat from a new one."""

    engine_name: str  # podling-<cluster>-<task>-<attempt>[-<container>]
    task_id: str
    attempt: int
    container: ContainerSpec
    network: str
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    gpus: tuple[str, ...] = ()
    handler: str | None = None
    payload: str | None = None  # JSON
    statement: str | None = None
    parameters: str | None = None  # JSON
    database: str | None = None
    timeout_seconds: float | None = None  # the agent sees to it
    inside: Given | None = None

    def full_environment(self) -> dict[str, str]:
        """Return the container's own, and what is added to it."""
        return {
            **self.container.env,
            **self.environment,
            **({} if self.inside is None else self.inside.environment),
        }


class Condition(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@value
class Found:
    """A container of this cluster and node, as the runtime has it now.

    `exit_code` is None while it runs, and also when nobody can know it; `error_code` and `error`
    then say why, as they do for a kill by the kernel for want of memory.
    """

    engine_name: str
    container_id: str
    task_id: str
    attempt: int
    container_name: str
    condition: Condition
    image_digest: str | None = None
    gpus: tuple[str, ...] = ()
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    error_code: str | None = None
    error: str | None = None
    health: HealthStatus = HealthStatus.UNKNOWN
    is_silent: bool = False  # it is known to have written nothing


@value
class Gone:
    """A container that was there and has been removed behind Podling's back."""

    engine_name: str
    container_id: str
    task_id: str
    attempt: int
    container_name: str


@value
class LogLimit:
    """An engine keeps at least the last `surely_kept_bytes` of a container's output, by its own measure.

    `size_of` returns at most how many of them it keeps a record in.
    """

    surely_kept_bytes: int
    size_of: Callable[[LogRecord], int]

    def of(self, logging: Logging | None) -> "LogLimit":
        """Return the limit of a container that may have sizes of its own."""
        if logging is None:
            return self
        # The newest file may just have been begun.
        return replace(self, surely_kept_bytes=(logging.max_files - 1) * logging.max_size)


Observer = Callable[[Found | Gone], None]


class Runtime(Protocol):
    """A runtime watches its containers from `open` to `close` and tells the observer every exit, and of
    one that runs every change of its health.

    An exit may be told twice, never not at all: after a break in the engine's stream of events the
    runtime compares its inventory and tells what it missed.
    """

    name: str
    knows_every_start: bool
    """Whether its inventory has all that was ever started, and what is missing there never was."""

    @property
    def answers_at_once(self) -> bool:
        """Whether it neither waits nor works long to prepare, start or remove one."""

    @property
    def log_limit(self) -> LogLimit | None:
        """How much of a container's output it keeps; None: all of it."""

    async def open(self, observer: Observer) -> None:
        """Start watching. Raises RuntimeFailure with a sentence if the runtime cannot be had."""

    async def close(self) -> None:
        """Stop watching; containers go on."""

    async def check(self) -> str | None:
        """Return why the runtime takes no work at the moment; None when it is well."""

    async def prepare(self, work: ContainerWork) -> Found:
        """Make the container, or find it by its name. Pulls the image by its pull policy."""

    async def start(self, container_id: str) -> Found:
        """Start it; nothing happens if it runs already or has run."""

    async def restart(self, container_id: str) -> Found:
        """Start it again after an exit."""

    async def stop(self, container_id: str, signal: str | None, grace_seconds: float) -> None:
        """Ask it to end and return at once; the observer hears of the exit. KILL after the grace."""

    async def remove(self, container_id: str) -> None:
        """Remove what is left of it; one that is not there is no error."""

    async def inventory(self) -> Sequence[Found]:
        """Return every container of this cluster and node."""

    def logs(
        self, container_id: str, *, since: datetime | None = None, follow: bool = False
    ) -> AsyncIterator[LogRecord]:
        """Yield its output in order; with `follow` until it ends."""

    def detected_capacity(self) -> Mapping[str, int]:
        """Return what this runtime knows of the machine: millicores `cpu`, bytes `memory`."""
