"""What a user asks for: a task's specification. Immutable once accepted."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Any

from podling.core.value import value

CPU = "cpu"  # millicores
MEMORY = "memory"  # bytes
GPU = "gpu"
SLOTS = "slots"  # tasks side by side


class Runtime(StrEnum):
    DOCKER = "docker"
    PROCESS = "process"
    PYTHON = "python"  # functions that the worker has handlers for
    SQL = "sql"  # statements in databases that the worker can log in to
    SIMULATED = "simulated"  # for benchmarks: nothing is run


ENDS_WITH_WORKER = frozenset({Runtime.PYTHON, Runtime.SQL})
"""Runtimes whose tasks run inside the worker's own processes, and never outlive it."""


class TaskKind(StrEnum):
    """Through which of the two views a unit of work was submitted; each lists only its own."""

    TASK = "task"
    POD = "pod"


class RestartPolicy(StrEnum):
    """What the worker does inside one attempt when a container ends."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


class PullPolicy(StrEnum):
    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class Delivery(StrEnum):
    AT_LEAST_ONCE = "at_least_once"
    AT_MOST_ONCE = "at_most_once"


class OnLost(StrEnum):
    """What the master does with the task of a lost node."""

    RETRY = "retry"
    FAIL = "fail"
    HOLD = "hold"


class OnDisconnect(StrEnum):
    """What the worker does with a container when its own lease ends."""

    STOP = "stop"
    KEEP = "keep"


class Strategy(StrEnum):
    SPREAD = "spread"
    BINPACK = "binpack"


class Operator(StrEnum):
    IN = "in"
    NOT_IN = "notIn"
    EXISTS = "exists"
    DOES_NOT_EXIST = "doesNotExist"


class When(StrEnum):
    """Which end of a parent lets its dependent start."""

    SUCCESS = "success"
    FAILURE = "failure"
    ALWAYS = "always"


class MountType(StrEnum):
    VOLUME = "volume"
    BIND = "bind"
    TMPFS = "tmpfs"


@value
class Port:
    """A container's port; `host_port` 0 or None lets the engine choose one only if 0."""

    container_port: int
    host_port: int | None = None
    name: str | None = None
    protocol: str = "TCP"


@value
class Mount:
    type: MountType
    target: str
    source: str | None = None
    read_only: bool = False


@value
class Capabilities:
    """Of the kernel's privileges, by name: what is added to the engine's own few, and what is taken off."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


@value
class Device:
    """A device of the node; `permissions` are of `r`, `w` and `m` (make its node)."""

    host_path: str
    container_path: str | None = None
    permissions: str = "rwm"


@value
class Ulimit:
    """-1 is no limit; without `hard` the soft one is both."""

    soft: int
    hard: int | None = None


@value
class Logging:
    """How much of its output stays with the engine: so many files of so many bytes."""

    max_size: int = 32_000_000
    max_files: int = 4


@value
class ResourceRequirements:
    """Amounts by resource name: `cpu` in millicores, `memory` in bytes, others are counted."""

    requests: Mapping[str, int] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)


@value
class ContainerSpec:
    """One container. `command` replaces the image's entrypoint, `args` its command."""

    name: str = "main"
    image: str | None = None
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str | None = None
    user: str | None = None
    ports: tuple[Port, ...] = ()
    resources: ResourceRequirements = field(default_factory=ResourceRequirements)
    mounts: tuple[Mount, ...] = ()
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    pull_policy: PullPolicy = PullPolicy.IF_NOT_PRESENT
    platform: str | None = None
    stop_signal: str | None = None
    stop_grace_seconds: float = 10.0
    init: bool = False
    read_only_root: bool = False
    privileged: bool = False
    capabilities: Capabilities = field(default_factory=Capabilities)
    security_options: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    ulimits: Mapping[str, Ulimit] = field(default_factory=dict)
    shm_size: int | None = None
    hostname: str | None = None
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    logging: Logging | None = None


@value
class RetryPolicy:
    """Exponential backoff: `base * factor ** (failures - 1)`, capped, spread by `± jitter`.

    `on` lists the only error codes that are retried (empty: all that may be); `not_on` excludes some.
    An entry is an error code (`TIMEOUT`) or an exit code (`exit:75`).
    """

    base_seconds: float = 2.0
    factor: float = 2.0
    max_seconds: float = 900.0
    jitter: float = 0.2
    on: tuple[str, ...] = ()
    not_on: tuple[str, ...] = ()


@value
class Constraint:
    """A condition on a node's labels; a node without the label meets `notIn` and `doesNotExist`."""

    label: str
    operator: Operator = Operator.IN
    values: tuple[str, ...] = ()


@value
class Affinity:
    """A wish: a node that meets the constraint gains `weight` (1 to 100, negative to avoid)."""

    label: str
    operator: Operator = Operator.IN
    values: tuple[str, ...] = ()
    weight: int = 50


@value
class Placement:
    """Where a task may run (selector, constraints) and should run (affinity, spread, strategy).

    `spread` names a label: tasks of one shape are spread over its values.
    """

    node_selector: Mapping[str, str] = field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ()
    affinity: tuple[Affinity, ...] = ()
    spread: str | None = None
    strategy: Strategy = Strategy.SPREAD


@value
class AlertWish:
    """Who is told of this task: a rule by its name, a URL, or mail addresses.

    `on` are events of `podling.core.alerts`; without any it is `failed`, and a rule has its own.
    `listed_only` is the master's word: who submitted it may not operate, so whom it names has to be
    listed by the operator, also still when it is sent.
    """

    rule: str | None = None
    on: tuple[str, ...] = ()
    http: str | None = field(default=None, repr=False)
    mail: tuple[str, ...] = ()
    listed_only: bool = False


@value
class Dependency:
    """A parent: the task starts only when that one has ended so."""

    task_id: str
    when: When = When.SUCCESS


@value
class ArrayPlace:
    """Which of an array's tasks one is, counted from 0; of them `max_parallel` are on nodes at a time."""

    index: int
    count: int
    max_parallel: int | None = None


@value
class TaskSpec:
    """A unit of work, complete with its defaults, as accepted.

    A function has a `handler`, and one container without an image, which holds its resources; its
    `payload` is JSON text, so that it is given on as it came. A statement is like it: its `parameters`
    are the JSON text of a list, and `database` is a worker's name for where it runs, and as whom.
    """

    name: str
    containers: tuple[ContainerSpec, ...]
    kind: TaskKind = TaskKind.TASK
    runtime: Runtime = Runtime.DOCKER
    labels: Mapping[str, str] = field(default_factory=dict)
    network: str = "bridge"
    restart_policy: RestartPolicy = RestartPolicy.NEVER
    queue: str = "default"
    priority: int = 0
    run_at: datetime | None = None
    idempotency_key: str | None = None
    concurrency_key: str | None = None
    max_attempts: int = 1
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout_seconds: float | None = None
    queue_timeout_seconds: float | None = None
    deadline_seconds: float | None = None
    delivery: Delivery = Delivery.AT_LEAST_ONCE
    on_lost: OnLost = OnLost.RETRY
    on_disconnect: OnDisconnect = OnDisconnect.STOP
    max_losses: int = 5
    placement: Placement = field(default_factory=Placement)
    replay_of: str | None = None
    alerts: tuple[AlertWish, ...] = ()
    handler: str | None = None
    payload: str | None = None
    statement: str | None = None
    parameters: str | None = None
    database: str | None = None
    depends_on: tuple[Dependency, ...] = ()
    array: ArrayPlace | None = None

    @property
    def main(self) -> ContainerSpec:
        """The first container, which the task view shows."""
        return self.containers[0]

    @property
    def waits_when_lost(self) -> bool:
        """Whether its task is held when its node is lost: by wish, or because it may have run."""
        if self.on_lost is OnLost.FAIL:
            return False
        return self.on_lost is OnLost.HOLD or self.delivery is Delivery.AT_MOST_ONCE


JsonObject = Mapping[str, Any]
