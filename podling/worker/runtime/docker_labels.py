"""The labels by which a container tells whose it is, and what the engine's answers say about it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from podling.core.retry import ErrorCode
from podling.core.task import HealthStatus
from podling.worker.runtime.base import Condition, Found

MANAGED = "podling.io/managed"
TYPE = "podling.io/type"
CLUSTER = "podling.io/cluster"
NODE = "podling.io/node"
TASK = "podling.io/task"
ATTEMPT = "podling.io/attempt"
CONTAINER = "podling.io/container"
GPUS = "podling.io/gpus"  # ids, with commas

UNKNOWN_EXIT_MARK = 255
"""What the engine reports for a container that ended while nobody watched it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HEALTH = {str(health): health for health in HealthStatus}
_CONDITIONS = {
    "created": Condition.CREATED,
    "running": Condition.RUNNING,
    "paused": Condition.RUNNING,
    "restarting": Condition.RUNNING,
}


def found_from_inspect(data: Mapping[str, Any], image_digest: str | None) -> Found:
    """Return what `GET /containers/{id}/json` says, the exit code as the engine has it."""
    state = data["State"]
    condition = condition_of(state["Status"])
    ended = condition is Condition.EXITED
    started = instant(state.get("StartedAt"))
    finished = instant(state.get("FinishedAt")) if ended else None
    if started is not None and finished is not None:
        finished = max(started, finished)  # of a very short run the engine may note the end first
    code, error = (ErrorCode.OOM, OOM_SENTENCE) if ended and state.get("OOMKilled") else (None, None)
    return _found(
        data["Id"],
        data["Name"].lstrip("/"),
        data["Config"].get("Labels") or {},
        condition=condition,
        image_digest=image_digest,
        started_at=started,
        finished_at=finished,
        exit_code=state["ExitCode"] if ended else None,
        error_code=code,
        error=error,
        health=HealthStatus.UNKNOWN if ended else health_of((state.get("Health") or {}).get("Status", "")),
    )


def health_of(word: str) -> HealthStatus:
    """Return the health for the engine's word; one that is only starting is not known yet."""
    return _HEALTH.get(word, HealthStatus.UNKNOWN)


def listed_health(status: str) -> HealthStatus:
    """Return the health in a line such as `Up 2 minutes (healthy)`."""
    return health_of(status.rpartition("(")[2].removesuffix(")"))


def found_from_event(event: Mapping[str, Any], **known: Any) -> Found:
    """Return what an event of the engine says; the container's labels travel with it."""
    actor = event["Actor"]
    return _found(actor["ID"], actor["Attributes"].get("name", ""), actor["Attributes"], **known)


def _found(container_id: str, engine_name: str, labels: Mapping[str, str], **known: Any) -> Found:
    return Found(
        engine_name=engine_name,
        container_id=container_id,
        task_id=labels.get(TASK, ""),
        attempt=int(labels.get(ATTEMPT, "0")),
        container_name=labels.get(CONTAINER, ""),
        gpus=tuple(filter(None, labels.get(GPUS, "").split(","))),
        **known,
    )


def condition_of(state: str) -> Condition:
    """Return the condition for the engine's word; whatever neither waits nor runs has ended."""
    return _CONDITIONS.get(state, Condition.EXITED)


def instant(text: str | None) -> datetime | None:
    """Return the engine's time, None for its zero."""
    return datetime.fromisoformat(text) if text and not text.startswith("0001-") else None


def event_time(event: Mapping[str, Any]) -> datetime:
    """Return when the engine says the event happened."""
    return _EPOCH + timedelta(microseconds=event["timeNano"] // 1000)


OOM_SENTENCE = "The kernel killed it because it needed more memory than its limit."
UNKNOWN_EXIT_SENTENCE = (
    "It ended while the Docker engine was not there to see it; its exit code cannot be known."
)
EXTERNAL_SENTENCE = "Somebody stopped or removed it by hand (the engine was told to send signal {signal})."
RESTART_SENTENCE = "The Docker engine ended it ({signal}) when it stopped or restarted."
