"""Takes in what was left by SQL: whoever leads reads the inbox, in order, until nothing is left there."""

from podling.kit.wakeup import Wakeup
from podling.master.context import MasterContext
from podling.master.operations import inbox, statement_ends
from podling.store.ports.inbox import InboxKind

PAGE = 500
MOST_BYTES = 8 * 1024 * 1024
MOST_PAGES = 20  # before it begins anew: what was committed late has a place before what was read


class InboxLoop:
    """It reads on from where it was, since rows that were taken out take time to step over."""

    def __init__(self, context: MasterContext, page: int = PAGE) -> None:
        self._context = context
        self._page = page
        self._after = 0
        self._pages = 0
        self.wakeup = Wakeup()

    async def run_once(self) -> float | None:
        if not self._context.leads:
            return None
        after, self._after = self._after, 0  # whatever happens
        items = await self._context.store.inbox.page(after, self._page, MOST_BYTES)
        kinds = {kind: [item for item in items if item.kind is kind] for kind in InboxKind}
        await inbox.submit_all(self._context, kinds[InboxKind.SUBMIT])
        await inbox.cancel_all(self._context, kinds[InboxKind.CANCEL])
        await statement_ends.end_all(self._context, kinds[InboxKind.END])
        if not items:
            return 0.0 if after else None
        self._pages = (self._pages + 1) % MOST_PAGES
        self._after = items[-1].inbox_id if self._pages else 0
        return 0.0
