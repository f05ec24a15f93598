"""Following a task from wherever it is to its end, through retries and lost connections."""

import sys
import time
from collections.abc import Iterator

from podling.cli.invocation import Invocation
from podling.client import tasks
from podling.client.call import JsonObject
from podling.client.program import MASTER_AWAY_SECONDS, growing_pauses, has_ended
from podling.core.errors import NotFound, Unavailable
from podling.wire.logs import hold_back, split_missing

SILENCE_SECONDS = 15.0
EXPLAIN_AFTER_SECONDS = 3.0
MISSING_SECONDS = 5.0
"""How long the rest of an ended attempt's output is asked for: its worker may just come back."""
MISSING = "part of the output is missing here: {reason}"


class Follower:
    """Writes the output of each attempt as it comes, and says on the other stream where a new one begins.

    `tail` and `since` apply to the attempt that is shown first. `missing` is why the end of the output
    of the attempt that was shown last cannot be had, if so.
    """

    def __init__(
        self,
        cli: Invocation,
        *,
        stream: str | None = None,
        tail: int | None = None,
        since: str | None = None,
    ) -> None:
        self._cli = cli
        self._stream, self._tail, self._since = stream, tail, since
        self._written = 0  # bytes of the attempt that is being shown
        self._waiting_since = time.monotonic()
        self._explained = ""
        self._announced = 0
        self._silent = False
        self.missing: str | None = None
        self._missing_since: float | None = None

    def until_end(self, task: JsonObject, first_attempt: int = 1) -> JsonObject:
        """Return the task once it has ended and its output is written."""
        attempt, pauses = first_attempt, growing_pauses()
        self._announced = first_attempt
        while True:
            if attempt <= _last_started(task):
                self._announce(attempt)
                self._show(task, attempt)
                task = self._settled(task, attempt)
                is_over = task["status"] != "running" or task["attempt"] > attempt
                if is_over and not self._asks_again():
                    attempt, pauses = attempt + 1, self._next_attempt()
                    continue
            elif has_ended(task):
                return task
            else:
                self._explain(task)
            time.sleep(next(pauses))
            task = self._read(task)

    def _announce(self, attempt: int) -> None:
        if attempt > self._announced:
            self._announced = attempt
            self._cli.note(f"attempt {attempt} begins")

    def _asks_again(self) -> bool:
        """Whether to ask once more for the rest of an attempt that is over; else its loss is told."""
        if self.missing is None:
            return False
        now = time.monotonic()
        self._missing_since = self._missing_since or now
        if now - self._missing_since < MISSING_SECONDS:
            return True
        self._cli.note(MISSING.format(reason=self.missing))
        return False

    def _settled(self, task: JsonObject, attempt: int) -> JsonObject:
        """Read the task; its state may follow the end of the output by a moment."""
        task = self._read(task)
        if task["attempt"] == attempt and task["status"] == "running":
            time.sleep(next(growing_pauses()))
            task = self._read(task)
        return task

    def _next_attempt(self) -> Iterator[float]:
        self._written, self._tail, self._since = 0, None, None
        self._missing_since = None
        self._waiting_since = time.monotonic()
        return growing_pauses()

    def _read(self, task: JsonObject) -> JsonObject:
        return self._cli.client.send(tasks.read(task["taskId"]).patient(MASTER_AWAY_SECONDS))

    def _explain(self, task: JsonObject) -> None:
        """Say why it waits, once for each reason, if it has waited for a while."""
        if task["status"] != "pending" or time.monotonic() - self._waiting_since < EXPLAIN_AFTER_SECONDS:
            return
        self._waiting_since = time.monotonic()
        call = tasks.explain(task["taskId"]).patient(MASTER_AWAY_SECONDS)
        summary = str(self._cli.client.send(call).get("summary", ""))
        if summary != self._explained:
            self._explained = summary
            self._cli.note(f"waiting: {summary}")

    def _show(self, task: JsonObject, attempt: int) -> None:
        """Write what the attempt has put out since it was last shown, until that ends or breaks off."""
        self.missing = None
        try:
            for chunk in self._output(task, attempt):
                write_raw(chunk)
        except NotFound:
            return  # it ended before it wrote anything
        except Unavailable as error:
            self.missing = error.message
            self._cli.detail(error.message)
        if self._tail is not None and self._written:
            # Where a shortened output was left cannot be found again: go on with what comes now.
            self._tail = 0

    def _output(self, task: JsonObject, attempt: int) -> Iterator[bytes]:
        """Yield the attempt's output that was not written yet, until it or the attempt is over."""
        call = tasks.logs(
            task["taskId"],
            attempt=attempt,
            stream=self._stream,
            tail=self._tail,
            since=self._since,
            follow=True,
        )
        skip = 0 if self._tail is not None else self._written
        over, held = False, b""
        for chunk in self._cli.client.stream(call, silence_seconds=SILENCE_SECONDS):
            output, held = hold_back(held + chunk) if chunk else (held, b"")
            fresh, skip = output[skip:], max(skip - len(output), 0)
            self._written += len(fresh)
            yield fresh
            self._tell_silence(bool(fresh), split_missing(held)[1])
            if not chunk:
                if over:
                    return  # silent for a whole stretch after its end
                over = self._is_over(task, attempt)
        rest, self.missing = split_missing(held)
        self._written += len(rest[skip:])
        yield rest[skip:]

    def _tell_silence(self, came: bool, missing: str | None) -> None:
        """Say once, until more has come, that there is nobody to ask for it."""
        self._silent &= not came
        if missing is not None and not self._silent:
            self._silent = True
            self._cli.note(f"{missing}; the output goes on here when it does")

    def _is_over(self, task: JsonObject, attempt: int) -> bool:
        now = self._read(task)
        return has_ended(now) or now["attempt"] > attempt or now["status"] == "pending"


def _last_started(task: JsonObject) -> int:
    """Return the number of the last attempt that has been started."""
    attempt = int(task.get("attempt") or 0)
    return attempt - 1 if task["status"] == "scheduled" else attempt


def write_raw(data: bytes) -> None:
    """Write a task's output as it is, control characters included."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
