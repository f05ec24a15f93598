"""What is sent and answered, as types. Written by bin/generate-client from the OpenAPI document."""

from typing import Any, Literal, NotRequired, TypedDict


class Affinity(TypedDict):
    """A wish: a node that meets the constraint gains `weight` (1 to 100, negative to avoid)."""

    label: str
    operator: NotRequired["Operator | None"]
    values: NotRequired[list[str] | None]
    weight: NotRequired[int | None]


class AlertWish(TypedDict):
    """Who is told of this task: a rule by its name, a URL, or mail addresses."""

    rule: NotRequired[str | None]
    on: NotRequired[list[str] | None]
    http: NotRequired[str | None]
    mail: NotRequired[list[str] | None]
    listedOnly: NotRequired[bool | None]


class ArrayPlace(TypedDict):
    """Which of an array's tasks one is, counted from 0; of them `max_parallel` are on nodes at a time."""

    index: int
    count: int
    maxParallel: NotRequired[int | None]


class ArrayWish(TypedDict):
    """So many tasks of one kind, of which `max_parallel` are on nodes at a time."""

    count: int
    maxParallel: NotRequired[int | None]


class Attempt(TypedDict):
    """One try at a task on one node."""

    attempt: int
    nodeId: str
    status: "AttemptStatus"
    scheduledAt: str
    startedAt: str | None
    finishedAt: str | None
    exitCode: int | None
    errorCode: str | None
    error: str | None
    retryAt: str | None
    containers: list["ContainerState"]
    containerId: str | None
    imageDigest: str | None


AttemptStatus = Literal["scheduled", "running", "completed", "failed", "cancelled", "lost", "refused"]


class Capabilities(TypedDict):
    """Of the kernel's privileges, by name: what is added to the engine's own few, and what is taken off."""

    add: NotRequired[list[str] | None]
    drop: NotRequired[list[str] | None]


class Cluster(TypedDict):
    """The cluster at a glance."""

    clusterId: str
    version: str
    store: Literal["memory", "postgres"]
    leader: str | None
    epoch: int
    leaseSeconds: float
    masters: list["Master"]
    nodes: dict[str, int]
    tasks: dict[str, int]


class Constraint(TypedDict):
    """A condition on a node's labels; a node without the label meets `notIn` and `doesNotExist`."""

    label: str
    operator: NotRequired["Operator | None"]
    values: NotRequired[list[str] | None]


class ContainerState(TypedDict):
    """One container of an attempt, as its worker last reported it."""

    name: str
    status: "ContainerStatus"
    containerId: str | None
    imageDigest: str | None
    startedAt: str | None
    finishedAt: str | None
    exitCode: int | None
    error: str | None
    restartCount: int


ContainerStatus = Literal["waiting", "running", "terminated"]

Delivery = Literal["at_least_once", "at_most_once"]


class Dependency(TypedDict):
    """A parent: the task starts only when that one has ended so."""

    taskId: str
    when: NotRequired["When | None"]


class Device(TypedDict):
    """A device of the node; `permissions` are of `r`, `w` and `m` (make its node)."""

    hostPath: str
    containerPath: NotRequired[str | None]
    permissions: NotRequired[str | None]


class Drain(TypedDict):
    """An operator's wish that a node be emptied. What still runs after `deadline_seconds` is stopped."""

    since: str
    deadlineSeconds: float | None


class Error(TypedDict):
    """What went wrong: a sentence for a person, a word for a program."""

    error: str
    code: str
    details: dict[str, Any]


class Event(TypedDict):
    """What stands in the `data` of an event: of a task, of a node, or that some are missing (`reset`)."""

    id: str
    at: str
    type: str
    taskId: NotRequired[str | None]
    name: NotRequired[str | None]
    queue: NotRequired[str | None]
    status: NotRequired[str | None]
    before: NotRequired[str | None]
    attempt: NotRequired[int | None]
    progress: NotRequired[float | None]
    nodeId: NotRequired[str | None]
    reason: NotRequired[str | None]


class Explanation(TypedDict):
    """`summary` is one sentence. `nodes` is given for pending tasks only, MOST_NODES at most."""

    taskId: str
    status: "TaskStatus"
    summary: str
    reasons: list["Reason"]
    nodes: list["NodeFit"]
    queuePosition: int | None
    nextEventAt: str | None
    advice: str | None


class Fire(TypedDict):
    """What was decided of one fire time; `count` of them, up to it, were missed."""

    fireTime: str
    outcome: Literal["started", "skipped", "missed", "denied"]
    at: str
    taskId: str | None
    message: str | None
    manual: bool
    count: int


HealthStatus = Literal["healthy", "unhealthy", "unknown"]


class KeyDependency(TypedDict):
    """A parent in the same workflow; of an array each task is one."""

    key: str
    when: NotRequired["When | None"]


class Logging(TypedDict):
    """How much of its output stays with the engine: so many files of so many bytes."""

    maxSize: NotRequired[int | None]
    maxFiles: NotRequired[int | None]


class LoggingSubmission(TypedDict):
    """How much of its output stays with the engine."""

    maxSize: NotRequired[str | float | None]
    maxFiles: NotRequired[int | None]


class Master(TypedDict):
    """A master; `alive` is null until it has been looked at."""

    masterId: str
    advertiseUrl: str
    version: str
    leader: bool
    epoch: int | None
    alive: bool | None
    beatAgeSeconds: float | None
    nodes: int


class Mount(TypedDict):
    type: "MountType"
    target: str
    source: NotRequired[str | None]
    readOnly: NotRequired[bool | None]


MountType = Literal["volume", "bind", "tmpfs"]


class Node(TypedDict):
    """A node; `capacity` counts task slots."""

    nodeId: str
    hostname: str
    port: int
    status: "NodeStatus"
    capacity: int
    registeredAt: str
    lastHeartbeat: str
    labels: dict[str, str]
    runtimes: list[str]
    sessionNo: int
    masterId: str | None
    cordoned: bool
    drain: "Drain | None"
    unhealthy: str | None
    lostReason: str | None
    version: str | None
    runningTasks: int
    resources: dict[str, dict[str, int]]


class NodeFit(TypedDict):
    nodeId: str
    fits: bool
    lacks: list[str]


NodeStatus = Literal["online", "offline"]

OnDisconnect = Literal["stop", "keep"]

OnLost = Literal["retry", "fail", "hold"]

Operator = Literal["in", "notIn", "exists", "doesNotExist"]


class Parent(TypedDict):
    """A task that another one depends on; without a status if history has forgotten it."""

    taskId: str
    when: "When"
    name: str | None
    arrayIndex: int | None
    status: Literal["pending", "scheduled", "running", "completed", "failed", "cancelled"] | None
    exitCode: int | None
    errorCode: str | None
    result: Any


class Placement(TypedDict):
    """Where a task may run (selector, constraints) and should run (affinity, spread, strategy)."""

    nodeSelector: NotRequired[dict[str, str] | None]
    constraints: NotRequired["list[Constraint] | None"]
    affinity: NotRequired["list[Affinity] | None"]
    spread: NotRequired[str | None]
    strategy: NotRequired["Strategy | None"]


class Port(TypedDict):
    """A container's port; `host_port` 0 or None lets the engine choose one only if 0."""

    containerPort: int
    hostPort: NotRequired[int | None]
    name: NotRequired[str | None]
    protocol: NotRequired[str | None]


PullPolicy = Literal["Always", "IfNotPresent", "Never"]


class Reason(TypedDict):
    code: str
    message: str
    details: dict[str, Any]


class ResourceRequirements(TypedDict):
    """Amounts by resource name: `cpu` in millicores, `memory` in bytes, others are counted."""

    requests: NotRequired[dict[str, int] | None]
    limits: NotRequired[dict[str, int] | None]


RestartPolicy = Literal["Always", "OnFailure", "Never"]


class RetryPolicy(TypedDict):
    """Exponential backoff: `base * factor ** (failures - 1)`, capped, spread by `± jitter`."""

    baseSeconds: NotRequired[float | None]
    factor: NotRequired[float | None]
    maxSeconds: NotRequired[float | None]
    jitter: NotRequired[float | None]
    on: NotRequired[list[str] | None]
    notOn: NotRequired[list[str] | None]


Runtime = Literal["docker", "process", "python", "sql", "simulated"]


class Schedule(TypedDict):
    """A schedule, when it fires next, and what came of it last."""

    name: str
    cron: str
    timeZone: str
    overlap: Literal["allow", "skip", "replace"]
    catchUp: Literal["none", "last", "all"]
    maxCatchUp: int
    jitterSeconds: float
    paused: bool
    scheduleId: str
    task: "ShownTask"
    nextFires: list[str]
    lastFire: "Fire | None"
    owner: str
    createdAt: str
    updatedAt: str


class ScheduleFields(TypedDict):
    """When, and in `task` what."""

    lastFire: NotRequired[Any]
    cron: str
    timeZone: NotRequired[str | None]
    overlap: NotRequired[Literal["allow", "skip", "replace"] | None]
    catchUp: NotRequired[Literal["none", "last", "all"] | None]
    maxCatchUp: NotRequired[int | None]
    jitterSeconds: NotRequired[float | None]
    paused: NotRequired[bool | None]
    task: "ScheduledTask"


class ScheduleSubmission(ScheduleFields):
    """When, and in `task` what."""

    name: str


class ScheduledTask(TypedDict):
    """What is to be run; without a name it has the schedule's."""

    name: NotRequired[str | None]
    runtime: NotRequired["Runtime | None"]
    labels: NotRequired[dict[str, str] | None]
    network: NotRequired[str | None]
    restartPolicy: NotRequired["RestartPolicy | None"]
    queue: NotRequired[str | None]
    priority: NotRequired[int | None]
    runAt: NotRequired[str | None]
    idempotencyKey: NotRequired[str | None]
    concurrencyKey: NotRequired[str | None]
    maxAttempts: NotRequired[int | None]
    retry: NotRequired["RetryPolicy | None"]
    timeoutSeconds: NotRequired[float | None]
    queueTimeoutSeconds: NotRequired[float | None]
    deadlineSeconds: NotRequired[float | None]
    delivery: NotRequired["Delivery | None"]
    onLost: NotRequired["OnLost | None"]
    onDisconnect: NotRequired["OnDisconnect | None"]
    maxLosses: NotRequired[int | None]
    placement: NotRequired["Placement | None"]
    alerts: NotRequired["list[str | AlertWish] | None"]
    handler: NotRequired[str | None]
    payload: NotRequired[Any]
    statement: NotRequired[str | None]
    parameters: NotRequired[list[Any] | None]
    database: NotRequired[str | None]
    dependsOn: NotRequired["list[Dependency] | None"]
    array: NotRequired["ArrayPlace | None"]
    image: NotRequired[str | None]
    command: NotRequired[list[str] | None]
    args: NotRequired[list[str] | None]
    env: NotRequired[dict[str, str] | None]
    workingDir: NotRequired[str | None]
    user: NotRequired[str | None]
    ports: NotRequired["list[Port] | None"]
    resources: NotRequired[dict[str, dict[str, str | float] | None] | None]
    mounts: NotRequired["list[Mount] | None"]
    tmpfs: NotRequired[dict[str, str] | None]
    pullPolicy: NotRequired["PullPolicy | None"]
    platform: NotRequired[str | None]
    stopSignal: NotRequired[str | None]
    stopGraceSeconds: NotRequired[float | None]
    init: NotRequired[bool | None]
    readOnlyRoot: NotRequired[bool | None]
    privileged: NotRequired[bool | None]
    capabilities: NotRequired["Capabilities | None"]
    securityOptions: NotRequired[list[str] | None]
    devices: NotRequired["list[Device] | None"]
    ulimits: NotRequired["dict[str, int | Ulimit] | None"]
    shmSize: NotRequired[str | float | None]
    hostname: NotRequired[str | None]
    extraHosts: NotRequired[dict[str, str] | None]
    dns: NotRequired[list[str] | None]
    dnsSearch: NotRequired[list[str] | None]
    dnsOptions: NotRequired[list[str] | None]
    logging: NotRequired["LoggingSubmission | None"]


class ShownTask(TypedDict):
    """What its tasks are submitted with."""

    name: str
    runtime: "Runtime"
    labels: dict[str, str]
    network: str
    restartPolicy: "RestartPolicy"
    queue: str
    priority: int
    runAt: str | None
    idempotencyKey: str | None
    concurrencyKey: str | None
    maxAttempts: int
    retry: "RetryPolicy"
    timeoutSeconds: float | None
    queueTimeoutSeconds: float | None
    deadlineSeconds: float | None
    delivery: "Delivery"
    onLost: "OnLost"
    onDisconnect: "OnDisconnect"
    maxLosses: int
    placement: "Placement"
    alerts: list["AlertWish"]
    handler: str | None
    payload: Any
    statement: str | None
    parameters: list[Any] | None
    database: str | None
    dependsOn: list["Dependency"]
    array: "ArrayPlace | None"
    image: str | None
    command: list[str]
    args: list[str]
    env: dict[str, str]
    workingDir: str | None
    user: str | None
    ports: list["Port"]
    resources: "ResourceRequirements"
    mounts: list["Mount"]
    tmpfs: dict[str, str]
    pullPolicy: "PullPolicy"
    platform: str | None
    stopSignal: str | None
    stopGraceSeconds: float
    init: bool
    readOnlyRoot: bool
    privileged: bool
    capabilities: "Capabilities"
    securityOptions: list[str]
    devices: list["Device"]
    ulimits: dict[str, "Ulimit"]
    shmSize: int | None
    hostname: str | None
    extraHosts: dict[str, str]
    dns: list[str]
    dnsSearch: list[str]
    dnsOptions: list[str]
    logging: "Logging | None"


Strategy = Literal["spread", "binpack"]


class Task(TypedDict):
    """A task, as it is now, and what was submitted."""

    name: str
    runtime: "Runtime"
    labels: dict[str, str]
    network: str
    restartPolicy: "RestartPolicy"
    queue: str
    priority: int
    runAt: str | None
    idempotencyKey: str | None
    concurrencyKey: str | None
    maxAttempts: int
    retry: "RetryPolicy"
    timeoutSeconds: float | None
    queueTimeoutSeconds: float | None
    deadlineSeconds: float | None
    delivery: "Delivery"
    onLost: "OnLost"
    onDisconnect: "OnDisconnect"
    maxLosses: int
    placement: "Placement"
    replayOf: str | None
    alerts: list["AlertWish"]
    handler: str | None
    payload: Any
    statement: str | None
    parameters: list[Any] | None
    database: str | None
    dependsOn: list["Dependency"]
    array: "ArrayPlace | None"
    image: str | None
    command: list[str]
    args: list[str]
    env: dict[str, str]
    workingDir: str | None
    user: str | None
    ports: list["Port"]
    resources: "ResourceRequirements"
    mounts: list["Mount"]
    tmpfs: dict[str, str]
    pullPolicy: "PullPolicy"
    platform: str | None
    stopSignal: str | None
    stopGraceSeconds: float
    init: bool
    readOnlyRoot: bool
    privileged: bool
    capabilities: "Capabilities"
    securityOptions: list[str]
    devices: list["Device"]
    ulimits: dict[str, "Ulimit"]
    shmSize: int | None
    hostname: str | None
    extraHosts: dict[str, str]
    dns: list[str]
    dnsSearch: list[str]
    dnsOptions: list[str]
    logging: "Logging | None"
    taskId: str
    status: "TaskStatus"
    nodeId: str | None
    createdAt: str
    startedAt: str | None
    finishedAt: str | None
    error: str | None
    healthStatus: "HealthStatus"
    attempt: int
    exitCode: int | None
    errorCode: str | None
    deadLetterReason: str | None
    held: str | None
    progress: float | None
    containerId: str | None
    livenessProbe: Any
    readinessProbe: Any
    schedulingError: str | None
    result: Any
    restartCount: int


TaskStatus = Literal["pending", "scheduled", "running", "completed", "failed", "cancelled"]


class TaskFields(TypedDict):
    """What is to be run."""

    runtime: NotRequired["Runtime | None"]
    labels: NotRequired[dict[str, str] | None]
    network: NotRequired[str | None]
    restartPolicy: NotRequired["RestartPolicy | None"]
    queue: NotRequired[str | None]
    priority: NotRequired[int | None]
    runAt: NotRequired[str | None]
    idempotencyKey: NotRequired[str | None]
    concurrencyKey: NotRequired[str | None]
    maxAttempts: NotRequired[int | None]
    retry: NotRequired["RetryPolicy | None"]
    timeoutSeconds: NotRequired[float | None]
    queueTimeoutSeconds: NotRequired[float | None]
    deadlineSeconds: NotRequired[float | None]
    delivery: NotRequired["Delivery | None"]
    onLost: NotRequired["OnLost | None"]
    onDisconnect: NotRequired["OnDisconnect | None"]
    maxLosses: NotRequired[int | None]
    placement: NotRequired["Placement | None"]
    alerts: NotRequired["list[str | AlertWish] | None"]
    handler: NotRequired[str | None]
    payload: NotRequired[Any]
    statement: NotRequired[str | None]
    parameters: NotRequired[list[Any] | None]
    database: NotRequired[str | None]
    dependsOn: NotRequired["list[Dependency] | None"]
    array: NotRequired["ArrayPlace | None"]
    image: NotRequired[str | None]
    command: NotRequired[list[str] | None]
    args: NotRequired[list[str] | None]
    env: NotRequired[dict[str, str] | None]
    workingDir: NotRequired[str | None]
    user: NotRequired[str | None]
    ports: NotRequired["list[Port] | None"]
    resources: NotRequired[dict[str, dict[str, str | float] | None] | None]
    mounts: NotRequired["list[Mount] | None"]
    tmpfs: NotRequired[dict[str, str] | None]
    pullPolicy: NotRequired["PullPolicy | None"]
    platform: NotRequired[str | None]
    stopSignal: NotRequired[str | None]
    stopGraceSeconds: NotRequired[float | None]
    init: NotRequired[bool | None]
    readOnlyRoot: NotRequired[bool | None]
    privileged: NotRequired[bool | None]
    capabilities: NotRequired["Capabilities | None"]
    securityOptions: NotRequired[list[str] | None]
    devices: NotRequired["list[Device] | None"]
    ulimits: NotRequired["dict[str, int | Ulimit] | None"]
    shmSize: NotRequired[str | float | None]
    hostname: NotRequired[str | None]
    extraHosts: NotRequired[dict[str, str] | None]
    dns: NotRequired[list[str] | None]
    dnsSearch: NotRequired[list[str] | None]
    dnsOptions: NotRequired[list[str] | None]
    logging: NotRequired["LoggingSubmission | None"]


class TaskSubmission(TaskFields):
    """What is to be run."""

    name: str


class TimelineLine(TypedDict):
    at: str
    type: str
    attempt: int | None
    actor: str
    message: str
    details: dict[str, Any]


class Ulimit(TypedDict):
    """-1 is no limit; without `hard` the soft one is both."""

    soft: int
    hard: NotRequired[int | None]


When = Literal["success", "failure", "always"]


class Workflow(TypedDict):
    """A workflow with its tasks, in the order of the submission."""

    workflowId: str
    name: str
    status: Literal["pending", "running", "completed", "failed", "cancelled"]
    createdAt: str
    counts: dict[str, int]
    tasks: list["WorkflowMember"]


class WorkflowDependency(TypedDict):
    """A parent, by its key."""

    key: str
    when: "When"


class WorkflowMember(TypedDict):
    """A task of a workflow; without a status if history has forgotten it."""

    key: str
    arrayIndex: int | None
    taskId: str
    dependsOn: list["WorkflowDependency"]
    name: str | None
    status: Literal["pending", "scheduled", "running", "completed", "failed", "cancelled"] | None
    attempt: int | None
    nodeId: str | None
    startedAt: str | None
    finishedAt: str | None
    exitCode: int | None
    errorCode: str | None
    error: str | None


class WorkflowOverview(TypedDict):
    """A workflow, and how many of its tasks are in each state."""

    workflowId: str
    name: str
    status: Literal["pending", "running", "completed", "failed", "cancelled"]
    createdAt: str
    counts: dict[str, int]


class WorkflowStep(TypedDict):
    """One task, or with `array` many that differ in `PODLING_ARRAY_INDEX`."""

    name: NotRequired[str | None]
    runtime: NotRequired["Runtime | None"]
    labels: NotRequired[dict[str, str] | None]
    network: NotRequired[str | None]
    restartPolicy: NotRequired["RestartPolicy | None"]
    queue: NotRequired[str | None]
    priority: NotRequired[int | None]
    runAt: NotRequired[str | None]
    idempotencyKey: NotRequired[str | None]
    concurrencyKey: NotRequired[str | None]
    maxAttempts: NotRequired[int | None]
    retry: NotRequired["RetryPolicy | None"]
    timeoutSeconds: NotRequired[float | None]
    queueTimeoutSeconds: NotRequired[float | None]
    deadlineSeconds: NotRequired[float | None]
    delivery: NotRequired["Delivery | None"]
    onLost: NotRequired["OnLost | None"]
    onDisconnect: NotRequired["OnDisconnect | None"]
    maxLosses: NotRequired[int | None]
    placement: NotRequired["Placement | None"]
    alerts: NotRequired["list[str | AlertWish] | None"]
    handler: NotRequired[str | None]
    payload: NotRequired[Any]
    statement: NotRequired[str | None]
    parameters: NotRequired[list[Any] | None]
    database: NotRequired[str | None]
    dependsOn: NotRequired["list[KeyDependency] | None"]
    array: NotRequired["ArrayWish | None"]
    image: NotRequired[str | None]
    command: NotRequired[list[str] | None]
    args: NotRequired[list[str] | None]
    env: NotRequired[dict[str, str] | None]
    workingDir: NotRequired[str | None]
    user: NotRequired[str | None]
    ports: NotRequired["list[Port] | None"]
    resources: NotRequired[dict[str, dict[str, str | float] | None] | None]
    mounts: NotRequired["list[Mount] | None"]
    tmpfs: NotRequired[dict[str, str] | None]
    pullPolicy: NotRequired["PullPolicy | None"]
    platform: NotRequired[str | None]
    stopSignal: NotRequired[str | None]
    stopGraceSeconds: NotRequired[float | None]
    init: NotRequired[bool | None]
    readOnlyRoot: NotRequired[bool | None]
    privileged: NotRequired[bool | None]
    capabilities: NotRequired["Capabilities | None"]
    securityOptions: NotRequired[list[str] | None]
    devices: NotRequired["list[Device] | None"]
    ulimits: NotRequired["dict[str, int | Ulimit] | None"]
    shmSize: NotRequired[str | float | None]
    hostname: NotRequired[str | None]
    extraHosts: NotRequired[dict[str, str] | None]
    dns: NotRequired[list[str] | None]
    dnsSearch: NotRequired[list[str] | None]
    dnsOptions: NotRequired[list[str] | None]
    logging: NotRequired["LoggingSubmission | None"]
    key: str
