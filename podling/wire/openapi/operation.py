"""How an operation of the REST contract is described."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from podling.core.value import value
from podling.wire.openapi.schema import INTEGER, STRING, Schema


@value
class Parameter:
    """`place` is query or header. Those of the path follow from the path itself."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: STRING)
    place: str = "query"
    repeated: bool = False


@value
class Operation:
    """One method of one path, for somebody who writes a client.

    `answers` are the schemas by status; None is an answer without JSON, of the type `media_type`.
    `body` None takes no body; `example` is one. With `body_optional` an empty one will do.
    """

    summary: str
    tag: str
    answers: Mapping[int, Schema | None]
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Mapping[str, Any] | None = None
    example: Mapping[str, Any] | None = None
    body_optional: bool = False
    media_type: str = "application/json"
    is_list: bool = False
    is_websocket: bool = False
    is_endless: bool = False


Operations = Mapping[str, Operation]
"""By method and path, as in `GET /api/v1/tasks/{id}`."""


def paged(most: int = 500, start: str = "newest") -> tuple[Parameter, ...]:
    """Return the parameters of a list that is read page by page."""
    return (
        Parameter(
            name="limit",
            description=f"How many at most; {most} without it.",
            schema=INTEGER | {"minimum": 1, "maximum": most},
        ),
        Parameter(
            name="cursor", description=f"`X-Next-Cursor` of the page before. Not given: from the {start}."
        ),
    )


LABEL = Parameter(
    name="label",
    description="Only what a selector means: `k=v`, `k!=v`, `k`, `!k`, `k in (v, w)`, `k notin (v, w)`.",
    repeated=True,
)
