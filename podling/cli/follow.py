"""Following a task from wherever it is to its end, through retries and lost connections."""

import sys
import time
from collections.abc import Iterator

from podling.cli.invocation import Invocation
from podling.client import tasks
from podling.client.call import JsonObject
from podling.client.program import MASTER_AWAY_SECONDS, growing_pauses, has_ended
from podling.core.errors import NotFound, Unavailable

SILENCE_SECONDS = 15.0
EXPLAIN_AFTER_SECONDS = 3.0
_LOG_TRIES = 5


class Follower:
    """Writes the output of each attempt as it comes; `quiet` only waits.

    `tail` and `since` apply to the attempt that is shown first.
    """

    def __init__(
        self,
        cli: Invocation,
        *,
        quiet: bool = False,
        stream: str | None = None,
        tail: int | None = None,
        since: str | None = None,
    ) -> None:
        self._cli, self._quiet = cli, quiet
        self._stream, self._tail, self._since = stream, tail, since
        self._explained = ""

    def until_end(self, task: JsonObject, first_attempt: int = 1) -> JsonObject:
        """Return the task once it has ended and its output is written."""
        next_attempt, pauses, began = first_attempt, growing_pauses(), time.monotonic()
        while True:
            while next_attempt <= _last_with_output(task):
                self._show(task, next_attempt)
                next_attempt, pauses, began = next_attempt + 1, growing_pauses(), time.monotonic()
                task = self._read(task)
            if has_ended(task):
                return task
            if time.monotonic() - began > EXPLAIN_AFTER_SECONDS and next_attempt > task["attempt"]:
                self._explain(task)
            time.sleep(next(pauses))
            task = self._read(task)

    def _read(self, task: JsonObject) -> JsonObject:
        return self._cli.client.send(tasks.read(task["taskId"]).patient(MASTER_AWAY_SECONDS))

    def _explain(self, task: JsonObject) -> None:
        """Say why it waits, once for each reason."""
        if task["status"] != "pending":
            return
        summary = str(self._cli.client.send(tasks.explain(task["taskId"])).get("summary", ""))
        if summary != self._explained:
            self._explained = summary
            self._cli.note(f"waiting: {summary}")

    def _show(self, task: JsonObject, attempt: int) -> None:
        if self._quiet:
            return
        written, pauses = 0, growing_pauses()
        for _ in range(_LOG_TRIES):
            try:
                for chunk in self._output(task, attempt, written):
                    written += len(chunk)
                    write_raw(chunk)
                return
            except NotFound:
                return  # it ended before it wrote anything
            except Unavailable as error:
                lost = error
                time.sleep(next(pauses))
        self._cli.note(f"the output of attempt {attempt} cannot be read any further: {lost.message}")

    def _output(self, task: JsonObject, attempt: int, skip: int) -> Iterator[bytes]:
        """Yield the attempt's output from byte `skip` on, until it or the task has ended."""
        call = tasks.logs(
            task["taskId"],
            attempt=attempt,
            stream=self._stream,
            tail=self._tail,
            since=self._since,
            follow=True,
        )
        over = False
        for chunk in self._cli.client.stream(call, silence_seconds=SILENCE_SECONDS):
            if chunk:
                skipped, skip = chunk[skip:], max(skip - len(chunk), 0)
                yield skipped
            elif over:
                return  # a stretch of silence has passed since the attempt was over
            else:
                over = _last_with_output(self._read(task)) > attempt or has_ended(self._read(task))
        self._tail = self._since = None


def _last_with_output(task: JsonObject) -> int:
    """Return the number of the last attempt that has been started."""
    attempt = int(task.get("attempt") or 0)
    return attempt - 1 if task["status"] == "scheduled" else attempt


def write_raw(data: bytes) -> None:
    """Write a task's output as it is, control characters included."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
