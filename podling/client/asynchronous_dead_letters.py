"""Dead letters: a method for each route."""

from collections.abc import AsyncIterator
from functools import partial
from typing import cast

from podling.client import dead_letters
from podling.client.asynchronous_base import PAGE, AsyncCaller
from podling.client.models import Task
from podling.client.operator_models import DeadLettersDismissed, DeadLettersReplayed


class AsyncDeadLetters(AsyncCaller):
    """What a program does with tasks that failed for good."""

    def dead_letters(
        self,
        *,
        queue: str | None = None,
        reason: str | None = None,
        error_code: str | None = None,
        limit: int | None = None,
        page: int = PAGE,
    ) -> AsyncIterator[Task]:
        """Yield those on the list, the last failed first and at most `limit`, page by page."""
        listing = partial(dead_letters.listing, queue=queue, reason=reason, error_code=error_code)
        return cast(AsyncIterator[Task], self.items(listing, limit=limit, page=page))

    async def replay_dead_letters(
        self,
        *,
        queue: str | None = None,
        reason: str | None = None,
        error_code: str | None = None,
        to_queue: str | None = None,
        run_at: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> DeadLettersReplayed:
        """Replay a page of those that the filters mean; without any, of all.

        With `more` in the answer, ask again with its `nextCursor` as the `cursor`. What was replayed is
        off the list, so the same again makes no second replay.
        """
        call = dead_letters.replay(
            queue=queue,
            reason=reason,
            error_code=error_code,
            to_queue=to_queue,
            run_at=run_at,
            limit=limit,
            cursor=cursor,
        )
        return cast(DeadLettersReplayed, await self.send(call))

    async def dismiss_dead_letters(
        self,
        *,
        queue: str | None = None,
        reason: str | None = None,
        error_code: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> DeadLettersDismissed:
        """Take a page of those that the filters mean off the list; without any, of all."""
        call = dead_letters.dismiss(
            queue=queue, reason=reason, error_code=error_code, limit=limit, cursor=cursor
        )
        return cast(DeadLettersDismissed, await self.send(call))

    async def dismiss(self, task_id: str) -> Task:
        """Take a task off the dead-letter list; the task and its history stay."""
        return cast(Task, await self.send(dead_letters.dismiss_task(task_id)))
