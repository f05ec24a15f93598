# Written by bin/generate-client from asynchronous_dead_letters.py: change that file instead.
"""Dead letters: a method for each route."""

from collections.abc import Iterator
from functools import partial
from typing import cast

from podling.client import dead_letters
from podling.client.blocking_base import PAGE, Caller
from podling.client.models import Task
from podling.client.operator_models import DeadLettersDismissed, DeadLettersReplayed


class DeadLetters(Caller):
    """What a program does with tasks that failed for good."""

    def dead_letters(
        self,
        *,
        queue: str | None = None,
        reason: str | None = None,
        error_code: str | None = None,
        limit: int | None = None,
        page: int = PAGE,
    ) -> Iterator[Task]:
        """Yield those on the list, the last failed first and at most `limit`, page by page."""
        listing = partial(dead_letters.listing, queue=queue, reason=reason, error_code=error_code)
        return cast(Iterator[Task], self.items(listing, limit=limit, page=page))

    def replay_dead_letters(
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
        return cast(DeadLettersReplayed, self.send(call))

    def dismiss_dead_letters(
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
        return cast(DeadLettersDismissed, self.send(call))

    def dismiss(self, task_id: str) -> Task:
        """Take a task off the dead-letter list; the task and its history stay."""
        return cast(Task, self.send(dead_letters.dismiss_task(task_id)))
