"""The cluster itself, in the contract."""

from podling.core.findings import Finding
from podling.core.task import TaskStatus
from podling.wire.openapi.operation import Operation, Parameter
from podling.wire.openapi.schema import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    TIME,
    Schema,
    array,
    closed,
    components_of,
    mapping,
    nullable,
    reference,
)

TAG = "cluster"
ABOUT = "Masters, health, and what is wrong."


def _master() -> Schema:
    return closed(
        "A master; `alive` is null until it has been looked at.",
        {
            "masterId": STRING,
            "advertiseUrl": STRING,
            "version": STRING,
            "leader": BOOLEAN,
            "epoch": nullable(INTEGER),
            "alive": nullable(BOOLEAN),
            "beatAgeSeconds": nullable(NUMBER),
            "nodes": INTEGER,
        },
    )


def _cluster() -> Schema:
    return closed(
        "The cluster at a glance.",
        {
            "clusterId": STRING,
            "version": STRING,
            "store": {"enum": ["memory", "postgres"]},
            "leader": nullable(STRING),
            "epoch": INTEGER,
            "leaseSeconds": NUMBER,
            "masters": array(reference("Master")),
            "nodes": closed("", dict.fromkeys(("online", "offline", "cordoned"), INTEGER)),
            "tasks": closed("", {str(status): INTEGER for status in TaskStatus}),
        },
    )


def _examination() -> Schema:
    return closed(
        "What is not as it should be, the worst first.",
        {
            "masterId": STRING,
            "advertiseUrl": STRING,
            "version": STRING,
            "scope": {"enum": ["cluster", "master"]},
            "at": TIME,
            "masters": array(closed("", {"masterId": STRING, "advertiseUrl": STRING})),
            "findings": array(reference("Finding")),
        },
    )


def _queue_metrics() -> Schema:
    whole = ("running", "depth", "succeeded", "failed", "cancelled", "retried")
    return closed(
        "One queue: what runs and waits now, and what ended in the last minute, whichever master saw to it.",
        dict.fromkeys(whole, INTEGER)
        | {"tasksPerSecond": NUMBER}
        | dict.fromkeys(("successRate", "retryRate", "meanLatencySeconds"), nullable(NUMBER)),
    )


def _metrics() -> Schema:
    counts = nullable(NUMBER)
    quantiles = closed("", {"count": INTEGER, "p50": counts, "p99": counts})
    rates = ("submitted", "scheduled", "running", "completed", "failed", "cancelled", "requests", "beats")
    latencies = ("schedule", "start", "end", "commit", "request", "loopLag")
    return closed(
        "What a master counted in the last minute, and what it holds.",
        {
            "at": TIME,
            "masterId": STRING,
            "leader": BOOLEAN,
            "epoch": nullable(INTEGER),
            "windowSeconds": NUMBER,
            "tasks": closed("", dict.fromkeys(("pending", "scheduled", "running"), INTEGER)),
            "pending": closed("", dict.fromkeys(("ready", "blocked", "lined", "later"), INTEGER)),
            "inbox": closed(
                "What came by SQL and waits to be taken in.",
                {"items": INTEGER, "oldestSeconds": nullable(NUMBER)},
            ),
            "queues": mapping(_queue_metrics()),
            "depthsAreWhole": BOOLEAN,
            "nodes": closed("", dict.fromkeys(("online", "offline", "cordoned", "unhealthy"), INTEGER)),
            "sessions": INTEGER,
            "eventReaders": INTEGER,
            "asyncioTasks": INTEGER,
            "residentBytes": nullable(NUMBER),
            "openDescriptors": nullable(NUMBER),
            "rates": closed("A second.", dict.fromkeys(rates, NUMBER)),
            "latencies": closed("", {f"{name}Seconds": quantiles for name in latencies}),
        },
    )


SCHEMAS = components_of(Finding) | {
    "Master": _master(),
    "Cluster": _cluster(),
    "Examination": _examination(),
    "Metrics": _metrics(),
}

_HEALTH = Operation(
    summary="Is the program there",
    tag=TAG,
    description="Whether it can work is `/ready`.",
    answers={200: closed("", {"status": {"const": "ok"}})},
)
OPERATIONS = {
    "GET /health": _HEALTH,
    "GET /api/v1/health": _HEALTH,
    "GET /ready": Operation(
        summary="Can a transaction be made now",
        tag=TAG,
        answers={200: closed("", {"status": {"const": "ready"}, "leader": BOOLEAN, "clusterId": STRING})},
    ),
    "GET /openapi.json": Operation(summary="This document", tag=TAG, answers={200: {"type": "object"}}),
    "GET /docs": Operation(
        summary="This document, to be read", tag=TAG, answers={200: None}, media_type="text/html"
    ),
    "GET /api/v1/cluster": Operation(
        summary="Read masters, leader and counts", tag=TAG, answers={200: reference("Cluster")}
    ),
    "GET /metrics": Operation(
        summary="Everything that a master counts, for Prometheus",
        tag=TAG,
        answers={200: None},
        media_type="text/plain",
    ),
    "GET /api/v1/metrics": Operation(
        summary="Read what a master counted in the last minute", tag=TAG, answers={200: reference("Metrics")}
    ),
    "GET /api/v1/doctor": Operation(
        summary="Have the cluster examined",
        tag=TAG,
        parameters=(
            Parameter(
                name="scope",
                description="The whole cluster, or the asked master and its workers.",
                schema={"enum": ["cluster", "master"]},
            ),
        ),
        answers={200: reference("Examination")},
    ),
}
