"""The process in which functions run: reads what to run from a socket, and tells how it ended.

Lines of JSON. From the worker `[number, handler, task, attempt, log, deadline, payload]` begins an
attempt, `[number]` cancels it, and an object tells how attempts speak to their cluster; to the worker
a greeting, then `[number, code, error]` for an end and `[number]` for a log that has grown. A thread
reads, so that the end of the worker is noticed and another attempt is taken on whatever the event loop
is busy with; another one writes, what has gathered in one piece.
"""

import asyncio
import contextvars
import importlib
import inspect
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Any

import orjson

from podling.core.protocol import AttemptKey
from podling.core.retry import ErrorCode
from podling.core.task_credential import make_credential
from podling.handlers import Context, Fail, Handler, Retry, registered
from podling.worker.runtime.python_output import Log, current, log_by_default, redirect

LOST = 17  # exit status of a process whose worker has gone
BROKEN = 18  # and of one whose modules cannot be imported
RECEIVE_BYTES = 256 * 1024
MOST_ERROR_CHARACTERS = 2000
CANCELLED = "it was cancelled"

_Ending = tuple[str | None, str | None]


class Host:
    """`threads`: how many functions that are not async run side by side at most."""

    def __init__(self, line: socket.socket, logs: Path, threads: int) -> None:
        self._line = line
        self._logs = logs
        self._handlers = registered()
        self._outbox: SimpleQueue[bytes] = SimpleQueue()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="handler")
        self._cancels: dict[int, tuple[Context, asyncio.Task[_Ending] | None]] = {}
        self._grown: set[int] = set()
        self._loop = _new_loop()
        self._speech: Mapping[str, str] | None = None

    def run(self) -> None:
        """Work until the worker's end of the line is closed, and the process ends with it."""
        self._post({"handlers": [_offer(handler) for handler in self._handlers.values()]})
        for work in (self._read, self._write):
            threading.Thread(target=_or_end, args=(work,), daemon=True).start()
        self._loop.run_forever()

    def _post(self, message: Any) -> None:
        self._outbox.put(orjson.dumps(message) + b"\n")

    def _write(self) -> None:
        while True:
            lines = [self._outbox.get()]
            while not self._outbox.empty():
                lines.append(self._outbox.get())
            self._grown.clear()
            try:
                self._line.sendall(b"".join(lines))
            except OSError:
                _leave()

    def _read(self) -> None:
        rest = b""
        while data := _receive(self._line):
            *lines, rest = (rest + data).split(b"\n")
            orders = [order for line in lines if (order := self._order(orjson.loads(line))) is not None]
            self._loop.call_soon_threadsafe(self._obey_async, orders)
            for order in orders:
                self._obey(order)
        _leave()

    def _order(self, said: Any) -> Sequence[Any] | None:
        if isinstance(said, dict):
            self._speech = said
            return None
        order: Sequence[Any] = said
        return order

    def _environment(self, task_id: str, attempt: int) -> Mapping[str, str]:
        """Return what the attempt would find in its environment, if it had one of its own."""
        names = {"PODLING_TASK_ID": task_id, "PODLING_ATTEMPT": str(attempt)}
        if (speech := self._speech) is None:
            return names
        key = AttemptKey(task_id=task_id, attempt=attempt)
        token = make_credential(bytes.fromhex(speech["key"]), key, speech["node"])
        return names | {
            "PODLING_NODE_ID": speech["node"],
            "PODLING_API": speech["api"],
            "PODLING_TOKEN": token,
        }

    # Orders. What runs in threads does not wait for the event loop, which a function may hold up.

    def _obey(self, order: Sequence[Any]) -> None:
        if len(order) == 1:
            if (known := self._cancels.get(order[0])) is not None:
                known[0]._cancelled.set()
            return
        handler = self._handlers.get(order[1])
        if handler is None:
            self._post([order[0], ErrorCode.UNKNOWN_JOB_TYPE, f"there is no handler {order[1]} here"])
        elif not handler.is_async:
            number, context, log = self._begin(order)
            self._cancels[number] = context, None
            self._pool.submit(self._run_in_thread, number, handler, order[6], context, log)

    def _obey_async(self, orders: Sequence[Sequence[Any]]) -> None:
        for order in orders:
            if len(order) == 1:
                known = self._cancels.get(order[0])
                if known is not None and known[1] is not None:
                    known[1].cancel()
                continue
            handler = self._handlers.get(order[1])
            if handler is not None and handler.is_async:
                self._begin_async(handler, order)

    def _begin_async(self, handler: Handler, order: Sequence[Any]) -> None:
        number, context, log = self._begin(order)
        work = self._loop.create_task(_run_async(handler, order[6], context, log))
        self._cancels[number] = context, work
        work.add_done_callback(lambda done: self._end(number, _outcome(done), log))

    def _begin(self, order: Sequence[Any]) -> tuple[int, Context, Log]:
        number, name, task_id, attempt, log, deadline, _ = order
        until = None if deadline is None else datetime.fromtimestamp(deadline, UTC)
        context = Context(task_id, attempt, name, until, self._environment)
        return number, context, Log(self._logs / log, lambda: self._tell_grown(number))

    def _tell_grown(self, number: int) -> None:
        """One notice is enough until it is sent: the file is read after it."""
        if number not in self._grown:
            self._grown.add(number)
            self._post([number])

    def _run_in_thread(self, number: int, handler: Handler, payload: Any, context: Context, log: Log) -> None:
        def call() -> _Ending:
            current.set(log)
            try:
                _refuse_unrun(handler.function(payload, context))
            except BaseException as error:  # noqa: BLE001 - whatever it raises is its task's end
                return _ending_of(error, log)
            return None, None

        self._end(number, contextvars.Context().run(call), log)

    def _end(self, number: int, ending: _Ending, log: Log) -> None:
        self._cancels.pop(number, None)
        log.close()
        self._post([number, *ending])


async def _run_async(handler: Handler, payload: Any, context: Context, log: Log) -> _Ending:
    current.set(log)
    try:
        await handler.function(payload, context)
    except BaseException as error:  # noqa: BLE001 - whatever it raises is its task's end
        return _ending_of(error, log)
    return None, None


def _or_end(work: Callable[[], None]) -> None:
    """Neither thread ends on its own: without it, what is sent here would wait for ever."""
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - whatever it is, another process goes on
        traceback.print_exception(error)
        _leave()


def _leave() -> None:
    """End, and with it all that functions have started and that stayed in this process's group."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(LOST)


def _refuse_unrun(returned: Any) -> None:
    """A coroutine that nobody awaits has done nothing, and must not pass for done. Raises TypeError."""
    if inspect.isawaitable(returned):
        if inspect.iscoroutine(returned):
            returned.close()
        raise TypeError("it returned something to await: declare the handler itself with async def")


def _outcome(done: "asyncio.Task[_Ending]") -> _Ending:
    """One that was cancelled before it began has not even caught that."""
    return (ErrorCode.CANCELLED, CANCELLED) if done.cancelled() else done.result()


def _ending_of(error: BaseException, log: Log) -> _Ending:
    """Return code and sentence for what a function has raised; its traceback goes to the task's log."""
    said = _unwrapped(error)
    if isinstance(said, Retry | Fail):
        return said.code, _told(str(said))
    if isinstance(error, asyncio.CancelledError):
        return ErrorCode.CANCELLED, CANCELLED
    log.write(2, "".join(traceback.format_exception(error)))
    code = ErrorCode.UNKNOWN if isinstance(error, Exception) else ErrorCode.PANIC
    return code, _sentence(said)


def _unwrapped(error: BaseException) -> BaseException:
    """A TaskGroup wraps even what a function means to say."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _told(sentence: str) -> str:
    """Return it as every store can keep it: a file's name, say, may have what is no character."""
    text = sentence.encode("utf-8", "backslashreplace").decode().replace("\0", r"\x00")
    return text[:MOST_ERROR_CHARACTERS]


def _sentence(error: BaseException) -> str:
    what = "".join(traceback.format_exception_only(error)).strip()
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return _told(what + where)


def _offer(handler: Handler) -> Sequence[Any]:
    return handler.name, handler.concurrency, handler.timeout_seconds, handler.is_async


def _receive(line: socket.socket) -> bytes:
    try:
        return line.recv(RECEIVE_BYTES)
    except OSError:
        return b""


def _new_loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


def _import(modules: Sequence[str]) -> str | None:
    """Import the modules that register handlers; return what is wrong, in a sentence."""
    for module in modules:
        try:
            importlib.import_module(module)
        except BaseException as error:  # noqa: BLE001 - whatever it raises, the worker has to tell
            traceback.print_exception(error)
            return f"the module {module} cannot be imported: {_sentence(error)}"
    if not registered():
        return f"no function is registered by @handler in {', '.join(modules)}"
    return None


def _ignored(number: int, frame: FrameType | None) -> None:
    """The worker says when to end; what an operator sends to all processes is for the worker."""


def main(arguments: Sequence[str]) -> None:
    """Be the process: the socket's descriptor, the folder of logs, the number of threads, modules."""
    descriptor, logs, threads, *modules = arguments
    line = socket.socket(fileno=int(descriptor))
    line.set_inheritable(False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ignored)  # not SIG_IGN, which its own children would inherit
    redirect()
    problem = _import(modules)
    if problem is not None:
        line.sendall(orjson.dumps({"problem": problem}) + b"\n")
        sys.exit(BROKEN)
    log_by_default()
    Host(line, Path(logs), int(threads)).run()


if __name__ == "__main__":
    main(sys.argv[1:])
