"""Keeps the store from growing for ever."""

from datetime import timedelta

from podling.core.joining import MOST_JOIN_SECONDS
from podling.master.context import MasterContext

RETENTION_SECONDS = 300.0
AGAIN_SECONDS = 1.0  # where one pass was not enough
MOST_DECISIONS = 10_000
_JOINING = timedelta(seconds=MOST_JOIN_SECONDS)  # whom a live join token has let in counts, ended or not


class Retention:
    """What is old goes: changes, keys, ended tasks, tokens, decisions, audit. Coming partitions are made."""

    def __init__(self, context: MasterContext) -> None:
        self._context = context

    async def run_once(self) -> float | None:
        if self._context.leads:
            context, keep = self._context, self._context.options.keep_ended
            maintained = await context.store.maintain(keep)
            await context.store.tokens.forget_ended(context.clock.now() - max(keep, _JOINING))
            await context.store.audit.forget(context.clock.now() - keep)
            await context.store.decisions.prune(context.clock.now() - keep, MOST_DECISIONS)
            return None if maintained.is_complete else AGAIN_SECONDS
        return None
