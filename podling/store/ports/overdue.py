"""Tasks whose time is over."""

from datetime import datetime
from enum import StrEnum

from podling.core.value import value


class OverdueKind(StrEnum):
    QUEUE_TIMEOUT = "queue_timeout"
    DEADLINE = "deadline"


@value
class Overdue:
    at: datetime  # when the limit passed
    task_id: str
    kind: OverdueKind
