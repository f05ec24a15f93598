"""What is sent and answered, as types. Written by bin/generate-client from the OpenAPI document."""

from typing import Any, Literal, NotRequired, TypedDict


class Alert(TypedDict):
    """A rule, and how it fares."""

    name: str
    on: list["AlertEvent"]
    queue: str | None
    labels: dict[str, str]
    taskName: str | None
    namedOnly: bool
    http: str | None
    mail: list[str]
    command: str | None
    maxPerMinute: int
    hasSecret: bool
    pending: int
    lastAt: str | None
    lastError: str | None


AlertEvent = Literal["failed", "completed", "cancelled", "retrying", "lost", "held", "node_lost"]


class AlertMade(TypedDict):
    """The rule; with `secret` if it was made here, and never again."""

    name: str
    on: list["AlertEvent"]
    queue: str | None
    labels: dict[str, str]
    taskName: str | None
    namedOnly: bool
    http: str | None
    mail: list[str]
    command: str | None
    maxPerMinute: int
    hasSecret: bool
    pending: int
    lastAt: str | None
    lastError: str | None
    secret: NotRequired[str | None]


class AlertFields(TypedDict):
    """One of `http`, `mail` and `command` says where to."""

    on: NotRequired["list[AlertEvent] | None"]
    queue: NotRequired[str | None]
    labels: NotRequired[dict[str, str] | None]
    taskName: NotRequired[str | None]
    namedOnly: NotRequired[bool | None]
    http: NotRequired[str | None]
    secret: NotRequired[str | None]
    mail: NotRequired[list[str] | None]
    command: NotRequired[str | None]
    maxPerMinute: NotRequired[int | None]


class AlertRule(AlertFields):
    """One of `http`, `mail` and `command` says where to."""

    name: NotRequired[str | None]


class AlertTried(TypedDict):
    """What came of a sample."""

    name: str
    delivered: bool
    answer: str


class Allowed(TypedDict):
    """`allow` None is everything, an empty list nothing."""

    allow: list[str] | None


class AllowedByName(TypedDict):
    """What is dangerous: nothing that `allow` does not name."""

    allow: list[str]


class AllowedImages(TypedDict):
    """What `deny` names is denied whatever `allow` says."""

    allow: list[str] | None
    deny: list[str]


class AllowedUsers(TypedDict):
    """Entries are numbers, ranges of them (`1000-1999`) or names. `root` is about user and group 0."""

    allow: list[str] | None
    groups: list[str] | None
    root: bool


class AuditEntry(TypedDict):
    """A request that wanted a change, and how it went."""

    at: str
    actor: str
    tokenId: str | None
    address: str | None
    method: str
    route: str
    ids: dict[str, str]
    outcome: "Outcome"
    status: int | None
    code: str | None


class Breaker(TypedDict):
    """A breaker as it stands now. `failure_count` is of the failures since the last success."""

    key: str
    state: "BreakerState"
    failureCount: int
    lastFailureAt: str | None
    lastSuccessAt: str | None
    openedAt: str | None


BreakerState = Literal["closed", "open", "half_open"]


class CacheStatistics(TypedDict):
    """Hits and misses at the master that answers, since it began."""

    hits: int
    misses: int
    size: int
    ratio: float


class Checkpoint(TypedDict):
    """How far a task has come, and what it needs to go on from there. `progress` is in percent."""

    checkpointId: str
    taskId: str
    attempt: int
    sequence: int
    at: str
    progress: float | None
    data: Any
    estimatedSecondsRemaining: float | None


class Claim(TypedDict):
    """What is to be done."""

    status: Literal["claimed", "in_progress", "done"]
    value: Any
    token: int | None


class DeadLettersDismissed(TypedDict):
    """How many were taken off; with `more`, send the same again with `nextCursor` as its `cursor`."""

    dismissed: int
    more: bool
    nextCursor: str | None


class DeadLettersReplayed(TypedDict):
    """What was done; with `more`, send the same again with `nextCursor` as its `cursor`."""

    replayed: list["ReplayedLetter"]
    refused: list["RefusedReplay"]
    more: bool
    nextCursor: str | None


class Decision(TypedDict):
    """`at` is the last time, `door` how it came in (`submit`, `sql`, …; None: not by a door)."""

    decisionId: str
    at: str
    code: str
    taskId: str | None
    actor: str
    message: str
    details: dict[str, Any]
    door: str | None
    count: int
    firstAt: str


class Examination(TypedDict):
    """What is not as it should be, the worst first."""

    masterId: str
    advertiseUrl: str
    version: str
    scope: Literal["cluster", "master"]
    at: str
    masters: list[dict[str, str]]
    findings: list["Finding"]


class Finding(TypedDict):
    """`subject` is what it is about; `command`, where there is one, does what `remedy` says."""

    severity: "Severity"
    code: str
    subject: str
    message: str
    meaning: str
    remedy: str
    command: str | None


class HostPath(TypedDict):
    """A directory of the nodes that bind mounts may lie in."""

    path: str
    readOnly: bool


class Limits(TypedDict):
    """The most that a task may ask for. With one for CPU, memory or time, a task has to name its own."""

    cpu: str | None
    memory: int | None
    priority: int | None
    timeoutSeconds: float | None
    maxAttempts: int | None
    batch: int | None


class Lock(TypedDict):
    """A lock that is held. `token` is greater than that of every holder before."""

    key: str
    owner: str
    token: int
    acquiredAt: str
    expiresAt: str


class Metrics(TypedDict):
    """What a master counted in the last minute, and what it holds."""

    at: str
    masterId: str
    leader: bool
    epoch: int | None
    windowSeconds: float
    tasks: dict[str, int]
    pending: dict[str, int]
    inbox: dict[str, Any]
    queues: dict[str, dict[str, Any]]
    depthsAreWhole: bool
    nodes: dict[str, int]
    sessions: int
    eventReaders: int
    asyncioTasks: int
    residentBytes: float | None
    openDescriptors: float | None
    rates: dict[str, float]
    latencies: dict[str, dict[str, Any]]


class NewToken(TypedDict):
    """A token; `token` is its secret, shown this once."""

    tokenId: str
    name: str
    role: "Role"
    kind: "TokenKind"
    nodeId: str | None
    createdAt: str
    expiresAt: str | None
    revokedAt: str | None
    uses: int | None
    joinedBy: str | None
    token: str


Outcome = Literal["done", "refused", "failed", "unknown"]


class Permit(TypedDict):
    """A breaker, and whether it lets the asker through."""

    key: str
    state: "BreakerState"
    failureCount: int
    lastFailureAt: str | None
    lastSuccessAt: str | None
    openedAt: str | None
    allowed: bool
    retryAfterSeconds: float | None


class Policy(TypedDict):
    """`limits` are by role, and by `default` for the roles that have none of their own."""

    images: "AllowedImages"
    registries: "Allowed"
    runtimes: "Allowed"
    users: "AllowedUsers"
    hostPaths: list["HostPath"]
    volumes: "Allowed"
    networks: "Allowed"
    hostPorts: "Allowed"
    privileged: bool
    capabilities: "AllowedByName"
    devices: "AllowedByName"
    securityOptions: "AllowedByName"
    ulimits: "AllowedByName"
    limits: dict[str, "Limits"]
    taskToken: "TaskTokenPlace"


class PolicyInForce(TypedDict):
    """The policy of the master that is asked; `source` is its file, `problem` why no newer one was taken."""

    policy: "Policy"
    source: str | None
    loadedAt: str
    problem: str | None


class Queue(TypedDict):
    """A queue. Null is no limit."""

    name: str
    maxInFlight: int | None
    maxPerMinute: int | None
    maxPerKey: int | None
    throttleDelaySeconds: float | None
    weight: int | None
    ageingSeconds: float | None
    maxPayloadBytes: int | None
    maxSubmitsPerMinute: int | None
    paused: bool
    running: int


class QueueFields(TypedDict):
    """A limit that is left out, or null, is off."""

    paused: NotRequired[bool | None]
    maxInFlight: NotRequired[int | None]
    maxPerMinute: NotRequired[int | None]
    maxPerKey: NotRequired[int | None]
    throttleDelaySeconds: NotRequired[float | None]
    weight: NotRequired[int | None]
    ageingSeconds: NotRequired[float | None]
    maxPayloadBytes: NotRequired[int | None]
    maxSubmitsPerMinute: NotRequired[int | None]


class QueuePolicy(QueueFields):
    """A limit that is left out, or null, is off."""

    name: NotRequired[str | None]


class RefusedReplay(TypedDict):
    """A letter that could not be replayed and stays on the list."""

    taskId: str
    error: str
    code: str
    details: Any


class ReplayedLetter(TypedDict):
    """A letter and what was made of it."""

    taskId: str
    replayTaskId: str


Role = Literal["reader", "submitter", "operator", "admin", "worker", "task", "join"]

Severity = Literal["problem", "warning", "note"]

TaskTokenPlace = Literal["env", "file"]


class Token(TypedDict):
    """A token, without its secret."""

    tokenId: str
    name: str
    role: "Role"
    kind: "TokenKind"
    nodeId: str | None
    createdAt: str
    expiresAt: str | None
    revokedAt: str | None
    uses: int | None
    joinedBy: str | None


TokenKind = Literal["user", "join", "node"]
