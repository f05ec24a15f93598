"""What a program inside an attempt says, on the wire."""

from collections.abc import Mapping
from typing import Any

from podling.core.coordination import Checkpoint
from podling.core.coordination_rules import check_estimate, check_progress, to_text
from podling.core.errors import InvalidInput, TooLarge
from podling.core.value import value
from podling.wire.body import refuse_unknown
from podling.wire.codec import to_plain

MOST_RESULT_BYTES = 64 * 1024
"""Of JSON: a result lies with the task's state. What is larger belongs to a checkpoint, or elsewhere."""

CHECKPOINT_OUTPUT_ONLY = frozenset("checkpointId taskId attempt sequence at".split())
_WISHES = frozenset("progress data estimatedSecondsRemaining".split())


@value
class CheckpointWish:
    """What is to be kept."""

    progress: float | None = None
    data: Any = None
    estimated_seconds_remaining: float | None = None


def parse_checkpoint(plain: Mapping[str, Any]) -> CheckpointWish:
    """Raises InvalidInput, TooLarge."""
    refuse_unknown(plain, CHECKPOINT_OUTPUT_ONLY | _WISHES)
    to_text(plain.get("data"), "data")
    return CheckpointWish(
        progress=check_progress(plain.get("progress")),
        data=plain.get("data"),
        estimated_seconds_remaining=check_estimate(plain.get("estimatedSecondsRemaining")),
    )


def parse_progress(plain: Mapping[str, Any]) -> float:
    refuse_unknown(plain, frozenset({"taskId", "attempt", "progress"}))
    progress = check_progress(plain.get("progress"))
    if progress is None:
        raise InvalidInput.field("progress", "is required")
    return progress


def parse_result(plain: Mapping[str, Any]) -> str:
    """Return the result as JSON; null is one as good as any other."""
    refuse_unknown(plain, frozenset({"taskId", "attempt", "result"}))
    if "result" not in plain:
        raise InvalidInput.field("result", "is required")
    text = to_text(plain["result"], "result")
    size = len(text.encode())
    if size > MOST_RESULT_BYTES:
        problem = f"result: is {size} bytes of JSON, and may be {MOST_RESULT_BYTES} at most"
        raise TooLarge(problem, code="result_too_large", details={"field": "result", "bytes": size})
    return text


def checkpoint_view(checkpoint: Checkpoint) -> dict[str, Any]:
    return to_plain(checkpoint)  # type: ignore[no-any-return]
