"""What stands for a task that came by SQL and could not be read or kept as it is."""

from typing import Any

from podling.core.errors import InvalidInput
from podling.core.fields import MAX_NAME_CHARACTERS, check_identifier, check_text
from podling.core.queue import DEFAULT_QUEUE
from podling.core.spec import ContainerSpec, TaskSpec

NAMELESS = "refused"


def stand_in(name: Any = None, queue: Any = None) -> TaskSpec:
    """Return a specification under the name and the queue that were asked for, if such may be."""
    try:
        check_text("name", name if isinstance(name, str) else "", MAX_NAME_CHARACTERS)
    except InvalidInput:
        name = NAMELESS
    try:
        check_identifier("queue", queue if isinstance(queue, str) else "")
    except InvalidInput:
        queue = DEFAULT_QUEUE
    return TaskSpec(name=name, queue=queue, containers=(ContainerSpec(),))
