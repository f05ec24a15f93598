"""Keeps the store from growing for ever."""

from podling.master.context import MasterContext

RETENTION_SECONDS = 300.0


class Retention:
    """Old changes, keys and ended tasks go; coming partitions are made."""

    def __init__(self, context: MasterContext) -> None:
        self._context = context

    async def run_once(self) -> float | None:
        if self._context.leads:
            await self._context.store.maintain(self._context.options.keep_ended)
        return None
