"""Keeps the store from growing for ever."""

from datetime import timedelta

from podling.core.joining import MOST_JOIN_SECONDS
from podling.master.context import MasterContext
from podling.store.ports.maintained import Maintained

RETENTION_SECONDS = 300.0
AGAIN_SECONDS = 1.0  # where one pass was not enough
MOST_DECISIONS = 10_000
MOST_FIRES = 1_000_000
_JOINING = timedelta(seconds=MOST_JOIN_SECONDS)  # whom a live join token has let in counts, ended or not


class Retention:
    """What is old goes: changes, keys, ended tasks, tokens, decisions, fires, audit.

    Coming partitions are made.
    """

    def __init__(self, context: MasterContext) -> None:
        self._context = context

    async def run_once(self) -> float | None:
        if self._context.leads:
            store, keep = self._context.store, self._context.options.keep_ended
            now = self._context.clock.now()
            passes: list[Maintained] = [
                await store.maintain(keep),
                await store.tokens.forget_ended(now - max(keep, _JOINING)),
                await store.audit.forget(now - keep),
                await store.decisions.prune(now - keep, MOST_DECISIONS),
                await store.schedules.prune(now - keep, MOST_FIRES),
            ]
            return None if all(each.is_complete for each in passes) else AGAIN_SECONDS
        return None
