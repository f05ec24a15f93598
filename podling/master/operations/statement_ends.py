"""The ends that SQL tasks have committed with their work, applied as if their workers had told them."""

import asyncio
import logging
from collections.abc import Sequence

from podling.core.errors import Conflict, InvalidInput, NotFound
from podling.core.statement_end import StatementEnd, ended
from podling.master.context import MasterContext
from podling.store.ports.inbox import InboxItem
from podling.wire.codec import decode_leniently

_log = logging.getLogger(__name__)


async def end_all(context: MasterContext, items: Sequence[InboxItem]) -> None:
    """Complete the task of each, and take the items out. Raises Unavailable; then all are still there."""
    if not items:
        return
    answers = await asyncio.gather(*(_end(context, item) for item in items), return_exceptions=True)
    for item, answer in zip(items, answers, strict=True):
        if isinstance(answer, InvalidInput):
            _log.warning("the end of task %s in the inbox cannot be read: %s", item.task_id, answer.message)
        elif isinstance(answer, BaseException) and not isinstance(answer, NotFound | Conflict):
            raise answer  # else its worker was faster
    await context.store.inbox.remove([item.inbox_id for item in items])


async def _end(context: MasterContext, item: InboxItem) -> None:
    end = decode_leniently(StatementEnd, item.body.encode())
    await context.committer.apply(item.task_id, ended(item.task_id, end))
