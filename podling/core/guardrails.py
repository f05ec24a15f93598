"""What a queue takes at its door: how large a task may be, and how many may come in a minute.

Off until an operator sets it. A refusal has its code in small letters in an answer, and as it is here
where it is kept as a decision.
"""

from enum import StrEnum
from math import ceil

from podling.core.errors import PodlingError, TooLarge, TooManyRequests
from podling.core.queue import ALL_QUEUES


class Guardrail(StrEnum):
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    ENQUEUE_RATE_EXCEEDED = "ENQUEUE_RATE_EXCEEDED"


SHARES = 100
"""A master takes from a minute's submits at most this part of them at once, if that is more than one."""


def share_of(limit: int) -> int:
    """Return how many submits of a minute's limit a master takes at once."""
    return max(1, limit // SHARES)


def check_size(queue: str, carrier: str, size: int, limit: int) -> None:
    """Raise TooLarge where what a task brings (`carrier`) has more bytes of JSON than the queue takes."""
    if size > limit:
        raise TooLarge(
            f"the {carrier} has {size} bytes of JSON, and {_meant(queue)} takes {limit} at most; keep large"
            " data elsewhere and submit where it is, or have an operator raise maxPayloadBytes",
            code=Guardrail.PAYLOAD_TOO_LARGE.lower(),
            details={"queue": queue, "rule": _rule(queue, "maxPayloadBytes"), "bytes": size, "limit": limit},
        )


def too_many(queue: str, limit: int, wait_seconds: float) -> PodlingError:
    """Return the refusal of one submit more than the queue takes within a minute."""
    seconds = max(1, ceil(wait_seconds))
    return TooManyRequests(
        f"{_meant(queue)} takes at most {limit} a minute, and those of this minute are used up; try again in"
        f" {seconds} s",
        code=Guardrail.ENQUEUE_RATE_EXCEEDED.lower(),
        details={
            "queue": queue,
            "rule": _rule(queue, "maxSubmitsPerMinute"),
            "limit": limit,
            "retryAfterSeconds": seconds,
        },
    )


def guardrail_of(error: PodlingError) -> Guardrail | None:
    """Return which of these the refusal is of; None if it is another one."""
    return Guardrail.__members__.get(error.code.upper())


def _meant(queue: str) -> str:
    return "all queues together" if queue == ALL_QUEUES else f"queue {queue}"


def _rule(queue: str, limit: str) -> str:
    return f"queues.{queue}.{limit}"
