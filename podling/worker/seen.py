"""What a runtime found, in the words of the agent."""

from podling.core.agent_events import Condition, Exited, HealthTold, Seen
from podling.worker.runtime.base import Found


def seen_from(found: Found) -> Seen:
    """Return the core's form of what a runtime found."""
    return Seen(
        task_id=found.task_id,
        attempt=found.attempt,
        container_name=found.container_name,
        container_id=found.container_id,
        condition=Condition(found.condition.value),
        image_digest=found.image_digest,
        started_at=found.started_at,
        finished_at=found.finished_at,
        exit_code=found.exit_code,
        error_code=found.error_code,
        error=found.error,
        health=found.health,
        is_silent=found.is_silent,
    )


def news_of(found: Found) -> Exited | HealthTold:
    """Return what the runtime tells: of one that runs it is another health."""
    seen = seen_from(found)
    return HealthTold(seen=seen) if seen.condition is Condition.RUNNING else Exited(seen=seen)
