"""Speak to Podling from inside a task: say how far it is, save checkpoints, share locks and a cache.

    import podling.task

    task = podling.task.current()
    last = task.last_checkpoint()
    for row in range(last["data"]["row"] if last else 0, 10_000):
        work_on(row)
        if row % 100 == 0:
            task.checkpoint({"row": row}, progress=row / 100)
    task.result({"rows": 10_000})

This file needs nothing but Python, from 3.8 on, and nothing else of Podling: copy it into an image. What it
asks is repeated while the node's worker or its master is away, for a minute by default. `StaleAttempt` means
that another attempt has taken over, so this one must stop.
"""

import http.client
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Type
from urllib.parse import quote, unquote, urlsplit

__all__ = ["Lock", "LockLost", "NotAnswered", "Refused", "StaleAttempt", "Task", "current"]

PATIENCE_SECONDS = 60.0
ANSWER_SECONDS = 30.0
MOST_WAIT_SECONDS = 600.0  # as long as a master holds a request; who waits longer asks again
LONGEST_PAUSE_SECONDS = 2.0
KEYS = "tasks:"  # what the keys of tasks begin with, in locks and the cache

Json = Dict[str, Any]


class Refused(Exception):
    """Podling has said no: `status` and `code` are those of its answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class StaleAttempt(Refused):
    """Another attempt of the task has taken over, or it was stopped: this one's word counts no more."""


class LockLost(Exception):
    """The lock ran out, or somebody freed it, while it was held."""


class NotAnswered(Exception):
    """Nobody has answered for as long as this program was told to be patient."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Task:
    """This attempt, as it speaks to its cluster. It may be used from several threads."""

    def __init__(
        self, environment: Optional[Mapping[str, str]] = None, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        given = os.environ if environment is None else environment
        if "PODLING_API" not in given:
            raise RuntimeError(
                "PODLING_API is not set: this runs outside a task, or its node gives no address"
            )
        self.id = given["PODLING_TASK_ID"]
        self.attempt = int(given["PODLING_ATTEMPT"])
        self.node_id = given["PODLING_NODE_ID"]
        self.patience_seconds = patience_seconds
        self._address = urlsplit(given["PODLING_API"])
        self._token = _token(given)

    # The task itself

    def last_checkpoint(self) -> Optional[Json]:
        """Return what the last attempt that saved one has saved, this one included; None if none did."""
        found = self._ask("GET", self._own("checkpoints?limit=1"))
        return found[0] if found else None

    def checkpoint(
        self,
        data: Any = None,
        progress: Optional[float] = None,
        estimated_seconds_remaining: Optional[float] = None,
    ) -> Json:
        """Save where another attempt is to go on; it is kept when this returns. `progress` is in percent."""
        body = {
            "data": data,
            "progress": progress,
            "estimatedSecondsRemaining": estimated_seconds_remaining,
        }
        saved = self._ask("POST", self._own("checkpoints"), body)
        return dict(saved)

    def progress(self, percent: float) -> None:
        """Say how far the task is."""
        self._ask("PUT", self._own("progress"), {"progress": percent})

    def result(self, value: Any) -> None:
        """Say what came of the task: any JSON of at most 64 KiB."""
        self._ask("PUT", self._own("result"), {"result": value})

    def _own(self, rest: str) -> str:
        return "/tasks/%s/%s" % (quote(self.id, safe=""), rest)

    # What tasks share. Each key is one of tasks: outside it is known as `tasks:` and this.

    def lock(self, key: str, ttl_seconds: float = 30.0, wait_seconds: float = 0.0) -> "Lock":
        """Return a lock, to be used as a context manager; nothing is asked for before that."""
        return Lock(self, key, ttl_seconds, wait_seconds)

    def cache_get(self, key: str, default: Any = None) -> Any:
        try:
            return self._ask("GET", _shared("cache", key))["value"]
        except Refused as refused:
            if refused.status == 404:
                return default
            raise

    def cache_set(self, key: str, value: Any, ttl_seconds: Optional[float] = None) -> None:
        """Keep a value, for ever or so long."""
        body = {"value": value}
        if ttl_seconds is not None:
            body["ttlSeconds"] = ttl_seconds
        self._ask("PUT", _shared("cache", key), body)

    def cache_delete(self, key: str) -> bool:
        """Forget a value; False if there was none."""
        try:
            self._ask("DELETE", _shared("cache", key))
        except Refused as refused:
            if refused.status == 404:
                return False
            raise
        return True

    # How it is asked

    def _ask(self, method: str, path: str, body: Any = None, answer_seconds: float = ANSWER_SECONDS) -> Any:
        """Return the answer. Raises Refused, StaleAttempt, NotAnswered."""
        until, pause = time.monotonic() + self.patience_seconds, 0.1
        while True:
            try:
                status, answer = self._ask_once(method, path, body, answer_seconds)
                if status < 400:
                    return answer
                refused = _refusal(status, answer)
                if status not in (429, 503):
                    raise refused
                problem: Exception = refused
            except (OSError, http.client.HTTPException) as error:
                problem = error
            if time.monotonic() + pause > until:
                raise NotAnswered("Podling did not answer: %s" % (problem,)) from problem
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _ask_once(self, method: str, path: str, body: Any, answer_seconds: float) -> Any:
        connection = self._connection(answer_seconds)
        headers = {"Authorization": "Bearer " + self._token, "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, self._address.path + path, content, headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        return response.status, json.loads(text.decode()) if text else None

    def _connection(self, answer_seconds: float) -> http.client.HTTPConnection:
        scheme, host, port = self._address.scheme, self._address.hostname or "", self._address.port
        if scheme == "http+unix":
            return _UnixConnection(unquote(self._address.netloc), answer_seconds)
        kind: Type[http.client.HTTPConnection] = http.client.HTTPConnection
        return (http.client.HTTPSConnection if scheme == "https" else kind)(
            host, port, timeout=answer_seconds
        )


class Lock:
    """A lock that this attempt holds for as long as its block runs, renewed by a thread meanwhile.

    `is_lost` says that it could not be renewed in time, or that somebody freed it: stop then; leaving the
    block raises LockLost. What must not be written twice is to refuse a `token` smaller than the last one
    that it has seen.
    """

    def __init__(self, task: Task, key: str, ttl_seconds: float, wait_seconds: float) -> None:
        self.key = key
        self.token = 0
        self._task = task
        self._ttl_seconds = ttl_seconds
        self._wait_seconds = wait_seconds
        self._owner = task.id  # so that the next attempt need not wait until this one's has run out
        self._until = 0.0
        self._freed = False
        self._left = threading.Event()
        self._renewing: Optional[threading.Thread] = None

    @property
    def is_lost(self) -> bool:
        return self._freed or time.monotonic() >= self._until

    def __enter__(self) -> "Lock":
        """Raise Refused (code `lock_held`) if another one has it, and still has it after waiting."""
        waiting_until = time.monotonic() + self._wait_seconds
        while not self._acquired(max(0.0, waiting_until - time.monotonic())):
            pass
        self._renewing = threading.Thread(target=self._renew, daemon=True)
        self._renewing.start()
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], *_: object) -> None:
        self._left.set()
        if self._renewing is not None:
            self._renewing.join()
        was_lost = self.is_lost
        try:
            self._ask("release", {"token": self.token})
        except Refused as refused:
            was_lost = was_lost or refused.code == "lock_not_held"
        except NotAnswered:
            pass  # it was held until here, and frees itself when its time is over
        if was_lost and kind is None:
            raise LockLost("the lock %s was lost while it was held" % self.key)

    def _acquired(self, wait_seconds: float) -> bool:
        """Ask once for as long as a master waits; False if it is worth asking again."""
        wait = min(wait_seconds, MOST_WAIT_SECONDS)
        asked = time.monotonic()
        body = {"owner": self._owner, "ttlSeconds": self._ttl_seconds, "waitSeconds": wait}
        try:
            given = self._ask("acquire", body, wait)
        except Refused as refused:
            if refused.code == "lock_held" and wait_seconds > MOST_WAIT_SECONDS:
                return False
            raise
        self.token = given["token"]
        self._until = asked + self._ttl_seconds
        if wait:
            self._extend()  # nobody knows how long ago it was given
        return True

    def _renew(self) -> None:
        while not self._left.wait(self._ttl_seconds / 3):
            try:
                self._extend()
            except Refused:
                self._freed = True
                return
            except NotAnswered:
                if self.is_lost:
                    return

    def _extend(self) -> None:
        asked = time.monotonic()
        self._ask("extend", {"token": self.token, "ttlSeconds": self._ttl_seconds})
        self._until = asked + self._ttl_seconds

    def _ask(self, verb: str, body: Json, more_seconds: float = 0.0) -> Any:
        path = "%s/%s" % (_shared("locks", self.key), verb)
        return self._task._ask("POST", path, body, ANSWER_SECONDS + more_seconds)


def current(environment: Optional[Mapping[str, str]] = None) -> Task:
    """Return the task that this program runs in. Raises RuntimeError outside one."""
    return Task(environment)


def _token(given: Mapping[str, str]) -> str:
    if "PODLING_TOKEN" in given:
        return given["PODLING_TOKEN"]
    return Path(given["PODLING_TOKEN_FILE"]).read_text(encoding="ascii").strip()


def _shared(kind: str, key: str) -> str:
    return "/%s/%s" % (kind, quote(KEYS + key, safe=""))


def _refusal(status: int, answer: Any) -> Refused:
    told = answer if isinstance(answer, dict) else {}
    code, message = str(told.get("code", "")), str(told.get("error", "refused with status %d" % status))
    return (StaleAttempt if code == "stale_attempt" else Refused)(status, code, message)
