"""The written form of the table of moves: docs/state-machine.md."""

from collections.abc import Iterable, Iterator

from podling.core.lifecycle import TABLE, EventKind, Move
from podling.core.task import TERMINAL, TaskStatus

_HEAD = """\
# The life of a task

This page is generated from the table in `podling/core/lifecycle.py` by `podling.core.statemachine.render`.

A task is `pending` until the leader gives an attempt to a node, `scheduled` until its worker has
started every container, `running` until the worker reports the end. `completed`, `failed` and
`cancelled` are final: a task that has ended is replayed as a new one. A failed attempt with budget
left puts the task back to `pending`, due at its `runAt`.
"""


def render() -> str:
    """Return the page."""
    return "\n".join((_HEAD, *_diagram(), "", *_moves(), "", *_matrix(), ""))


def _diagram() -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield "    [*] --> pending"
    for source, target, names in _edges():
        yield f"    {source} --> {target}: {', '.join(names)}"
    for status in _ordered(TERMINAL):
        yield f"    {status} --> [*]"
    yield "```"


def _edges() -> Iterator[tuple[TaskStatus, TaskStatus, list[str]]]:
    for source in TaskStatus:
        for target in TaskStatus:
            names = [
                str(kind)
                for kind, move in TABLE.items()
                if source is not target and move.allows(source, target)
            ]
            if names:
                yield source, target, names


def _moves() -> Iterator[str]:
    yield "| event | who | from | to | meaning |"
    yield "|---|---|---|---|---|"
    for kind, move in TABLE.items():
        yield f"| `{kind}` | {move.actor} | {_names(move.sources)} | {_targets(move)} | {move.meaning} |"


def _matrix() -> Iterator[str]:
    yield "What may happen in which state; everything else is refused with the task's history."
    yield ""
    yield f"| event | {' | '.join(TaskStatus)} |"
    yield f"|---|{'---|' * len(TaskStatus)}"
    for kind, move in TABLE.items():
        yield _row(kind, move)


def _row(kind: EventKind, move: Move) -> str:
    marks = ("yes" if status in move.sources else "" for status in TaskStatus)
    return f"| `{kind}` | {' | '.join(marks)} |"


def _targets(move: Move) -> str:
    names = [_names(move.targets)] if move.targets else []
    return " or ".join([*names, "as it was"] if move.stays else names)


def _names(statuses: Iterable[TaskStatus]) -> str:
    return ", ".join(f"`{status}`" for status in _ordered(statuses))


def _ordered(statuses: Iterable[TaskStatus]) -> list[TaskStatus]:
    chosen = set(statuses)
    return [status for status in TaskStatus if status in chosen]
