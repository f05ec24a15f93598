# Written by bin/generate-client from asynchronous_face.py: change that file instead.
"""What a program does with a cluster: run tasks, wait for them, read what they wrote, see what happens."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Unpack, cast

from podling.client import events, program, tasks
from podling.client.blocking_base import PAGE, PARENTS_PAGE
from podling.client.blocking_checkpoints import Checkpointing
from podling.client.blocking_coordination import Coordination
from podling.client.blocking_events import Events
from podling.client.blocking_operations import Operations
from podling.client.models import Attempt, Explanation, Parent, Task, TaskFields, TimelineLine
from podling.core.errors import PodlingError, Unavailable
from podling.wire.logs import CUT_OFF

_CUT_OFF = CUT_OFF.decode().rstrip("\n")


class TaskHandle:
    """One task. `state` is what was last read of it: every method that reads or changes it renews it."""

    def __init__(self, client: "Face", state: Task) -> None:
        self._client = client
        self.state = state

    @property
    def id(self) -> str:
        return self.state["taskId"]

    @property
    def status(self) -> str:
        return self.state["status"]

    def __repr__(self) -> str:
        return f"<task {self.state['name']} {self.id}: {self.status}>"

    def refresh(self) -> Task:
        """Read the task again."""
        return self._take(self._client.send(tasks.read(self.id)))

    def wait(self, timeout_seconds: float | None = None) -> Task:
        """Return the task once it has ended, however it ended.

        A master that is away is waited for. Raises DeadlineExceeded after the timeout; None waits as
        long as it takes.
        """
        return self._take(self._client.wait(self.id, timeout_seconds))

    def cancel(self) -> Task:
        """Stop the task; its worker may still be at it when this returns."""
        return self._take(self._client.send(tasks.cancel(self.id)))

    def retry(self) -> Task:
        """Let the next attempt of a waiting task start now."""
        return self._take(self._client.send(tasks.retry(self.id)))

    def resolve(self, outcome: str, *, attempt: int | None = None) -> Task:
        """Say what became of a held task: `retry`, `completed`, `failed` or `cancelled`."""
        return self._take(self._client.send(tasks.resolve(self.id, outcome, attempt=attempt)))

    def replay(self, *, queue: str | None = None, run_at: str | None = None) -> "TaskHandle":
        """Submit the ended task again; return the new one."""
        made = self._client.send(tasks.replay(self.id, queue=queue, run_at=run_at))
        return TaskHandle(self._client, cast(Task, made))

    def explain(self) -> Explanation:
        """Return why the task is where it is."""
        return cast(Explanation, self._client.send(tasks.explain(self.id)))

    def timeline(self, *, limit: int | None = None, page: int = PAGE) -> Iterator[TimelineLine]:
        """Yield everything that happened to it, or the first `limit` of it, page by page."""
        listing = partial(tasks.timeline, self.id)
        return cast(Iterator[TimelineLine], self._client.items(listing, limit=limit, page=page))

    def parents(self, *, limit: int | None = None, page: int = PARENTS_PAGE) -> Iterator[Parent]:
        """Yield what it depends on, in that order, with their results."""
        listing = partial(tasks.parents, self.id)
        return cast(Iterator[Parent], self._client.items(listing, limit=limit, page=page))

    def attempts(self, *, limit: int | None = None, page: int = PAGE) -> Iterator[Attempt]:
        """Yield every try at it, or the first `limit`, the oldest first, page by page."""
        listing = partial(tasks.attempts, self.id)
        return cast(Iterator[Attempt], self._client.items(listing, limit=limit, page=page))

    def output(
        self, *, attempt: int | None = None, stream: str | None = None, tail: int | None = None
    ) -> str:
        """Return what an attempt (the newest unless named) has written so far."""
        return self._client.send(tasks.logs(self.id, attempt=attempt, stream=stream, tail=tail))

    def follow(self, *, stream: str | None = None) -> Iterator[str]:
        """Yield the lines of the live or next attempt as they are written, until it has ended.

        After a lost connection it goes on where it was. Raises Unavailable if no master, or not the
        task's worker, answers for a minute.
        """
        attempt = self._started()
        call = tasks.logs(self.id, attempt=attempt, stream=stream, follow=True)
        lines = _Lines()
        quiet_since, pauses = self._client.link.clock(), program.growing_pauses()
        while True:
            known = lines.count
            try:
                with closing(self._client.stream(call)) as chunks:
                    lines.begin_again()
                    for chunk in chunks:
                        yield from lines.of(chunk)
                if not lines.were_cut_off:
                    break
                lost = Unavailable("the task's worker does not answer", code="stream_lost")
            except Unavailable as error:
                lost = error
            if lines.count > known:
                quiet_since, pauses = self._client.link.clock(), program.growing_pauses()
            if self._client.link.clock() - quiet_since > program.MASTER_AWAY_SECONDS:
                raise lost
            self._client.perform(program.pause(next(pauses)))
        if rest := lines.rest():
            yield rest

    def _started(self) -> int:
        """Wait until an attempt has begun, or the task has ended without one; return its number."""
        for pause in program.growing_pauses():
            task = self._take(self._client.send(tasks.read(self.id).patient(program.MASTER_AWAY_SECONDS)))
            if task["status"] not in ("pending", "scheduled"):
                break
            self._client.perform(program.pause(pause))
        return max(self.state["attempt"], 1)

    def _take(self, state: Mapping[str, Any]) -> Task:
        self.state = cast(Task, state)
        return self.state


class _Lines:
    """Makes lines of chunks. After `begin_again` the lines that were given already are left out."""

    def __init__(self) -> None:
        self.count = 0  # bytes of whole lines
        self.were_cut_off = False
        self._left_out = 0
        self._begun = b""

    def begin_again(self) -> None:
        self._left_out, self._begun = self.count, b""
        self.were_cut_off = False

    def of(self, chunk: bytes) -> list[str]:
        skipped = min(len(chunk), self._left_out)
        self._left_out -= skipped
        *whole, self._begun = (self._begun + chunk[skipped:]).split(b"\n")
        texts = []
        for line in whole:
            text = line.decode(errors="replace")
            if text == _CUT_OFF:
                self.were_cut_off = True
                continue
            texts.append(text)
            self.count += len(line) + 1
        return texts

    def rest(self) -> str:
        """Return a last line without an end."""
        return self._begun.decode(errors="replace")


class Face(Operations, Coordination, Checkpointing):
    """What a client does with tasks and events, beside what `Operations` has."""

    def run(self, name: str, *, key: str | None = None, **fields: Unpack[TaskFields]) -> TaskHandle:
        """Submit a task and return a handle to it. The fields are those of `POST /tasks`.

        `key` is its idempotency key: the same key gives the same task; else one is made up, so that
        the request may be sent again until it is answered. Raises InvalidInput, PolicyDenied.
        """
        task = self.submit({"name": name, **fields}, key)
        return TaskHandle(self, task)

    def submit(self, spec: Mapping[str, Any], key: str | None = None) -> Task:
        """Submit a task once, however often the request has to be sent; return it.

        `key` is its idempotency key; else the specification's own is used, or one is made up.
        """
        return cast(Task, self.send(tasks.submit(spec, program.key_of(spec, key))))

    def submit_many(self, specs: Sequence[Mapping[str, Any]]) -> list[TaskHandle | PodlingError]:
        """Submit up to 1,000 tasks at once; return for each a handle, or the error that refuses it."""
        keyed = [{**spec, "idempotencyKey": program.key_of(spec, None)} for spec in specs]
        answers = self.send(tasks.submit_batch(keyed))
        return [self._submitted(spec, answer) for spec, answer in zip(keyed, answers, strict=True)]

    def _submitted(self, spec: Mapping[str, Any], answer: Mapping[str, Any]) -> TaskHandle | PodlingError:
        if "taskId" not in answer:
            return PodlingError(answer["error"], code=answer["code"], details=answer["details"])
        return TaskHandle(self, cast(Task, {"status": "pending", "attempt": 0, **spec, **answer}))

    def find(self, reference: str, *, patience_seconds: float = 0.0) -> Task:
        """Return the task of this id, name or beginning of an id. Raises NotFound, InvalidInput.

        `patience_seconds` is for how long a master that is away is waited for.
        """
        return cast(Task, self.perform(program.find_task(self.link, reference, patience_seconds)))

    def task(self, reference: str) -> TaskHandle:
        """Return a handle to the task of this id, name or beginning of an id."""
        return TaskHandle(self, self.find(reference))

    def wait(self, task_id: str, timeout_seconds: float | None) -> Task:
        """Return the task once it has ended. Raises DeadlineExceeded after the timeout."""
        return cast(Task, self.perform(program.wait_for_end(self.link, task_id, timeout_seconds)))

    def tasks(
        self,
        *,
        statuses: Sequence[str] = (),
        queue: str | None = None,
        node: str | None = None,
        name: str | None = None,
        labels: Sequence[str] = (),
        limit: int | None = None,
        page: int = PAGE,
    ) -> Iterator[Task]:
        """Yield tasks, the newest first and at most `limit`, asking for the next page when it is needed."""
        listing = partial(tasks.listing, statuses=statuses, queue=queue, node=node, name=name, labels=labels)
        return cast(Iterator[Task], self.items(listing, limit=limit, page=page))

    def events(
        self,
        *,
        types: Sequence[str] = (),
        task: str | None = None,
        queue: str | None = None,
        node: str | None = None,
        labels: Sequence[str] = (),
        since: str | None = None,
        last_id: str | None = None,
    ) -> Events:
        """Return an iterator over what happens from this call on, or after the event `last_id`.

        `task` and `node` are ids, `since` is a time in RFC 3339. An event of the type `reset` says that
        some are missing. This, and iterating, raise the typed error of a refusal, and Unavailable if no
        master answers for a minute.
        """
        follow = partial(
            events.follow, types=types, task=task, queue=queue, node=node, labels=labels, since=since
        )
        return Events(self, events.Following(follow, last_id, self.link.clock)).begin()
