"""The end of a worker that is told to stop: when nothing is on its way, and what becomes of functions."""

import asyncio
from collections.abc import Sequence

from podling.core.agent_attempt import Held, Phase
from podling.core.agent_events import StopOrdered
from podling.core.protocol import StopOrder
from podling.core.spec import ENDS_WITH_WORKER
from podling.core.task import StopReason
from podling.worker.session import Session
from podling.worker.shell import Shell


def is_quiet(shell: Shell, session: Session) -> bool:
    """Whether nothing is on its way: what runs may run on without this program."""
    if session.url is not None and shell.state.outbox:
        return False
    for held in shell.state.attempts.values():
        is_kept = held.is_recorded and held.are_logs_saved
        if held.ending is not None and not is_kept:
            return False
        if any(one.phase is Phase.STARTING for one in held.containers):
            return False
    return True


async def let_functions_end(shell: Shell, patience_seconds: float) -> None:
    """Wait for what cannot run on without this program, and in the end have it stopped."""
    try:
        async with asyncio.timeout(patience_seconds):
            while _functions(shell):
                await shell.changed()
    except TimeoutError:
        orders = tuple(_order(held, patience_seconds / 2) for held in _functions(shell))
        shell.feed(StopOrdered(items=orders))
        while _functions(shell):
            await shell.changed()


def _functions(shell: Shell) -> Sequence[Held]:
    return [
        held
        for held in shell.state.attempts.values()
        if held.final is None and held.assignment.spec.runtime in ENDS_WITH_WORKER
    ]


def _order(held: Held, grace_seconds: float) -> StopOrder:
    return StopOrder(
        task_id=held.key.task_id,
        attempt=held.key.attempt,
        reason=StopReason.DRAIN,
        grace_seconds=grace_seconds,
    )
