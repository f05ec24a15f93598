"""Functions that do what their names say."""

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from podling.handlers import Context, Fail, Retry, handler
from podling.task import current


@handler("noop")
async def noop(payload: Any, context: Context) -> None:
    pass


@handler("noop.thread")
def noop_in_thread(payload: Any, context: Context) -> None:
    pass


@handler("say")
async def say(payload: Any, context: Context) -> None:
    print(f"{payload} {context.task_id} {context.attempt} {context.handler}")
    await asyncio.sleep(0)
    print("half a ", end="")
    await asyncio.to_thread(print, "line")
    print("to stderr", file=sys.stderr)
    logging.getLogger("shop").info("logged")
    sys.stdout.buffer.write(b"bytes\n")
    print("no end", end="")


@handler("say.thread")
def say_in_thread(payload: Any, context: Context) -> None:
    for number in range(3):
        print(payload, number)


@handler("raise")
def fail_as_told(payload: Any, context: Context) -> None:
    kinds: dict[str, Callable[[], BaseException]] = {
        "retry": lambda: Retry("DEPENDENCY_DOWN", "the shop is closed"),
        "fail": lambda: Fail("BAD_PAYLOAD"),
        "value": lambda: ValueError("wrong"),
        "exit": lambda: SystemExit(3),
        "code": lambda: Retry("NONE_SUCH"),
    }
    raise kinds[payload]()


@handler("raise.async")
async def fail_async(payload: Any, context: Context) -> None:
    fail_as_told(payload, context)


@handler("wait", concurrency=2)
async def wait(payload: Any, context: Context) -> None:
    """Until the file is there; say when it is cancelled."""
    print("waiting", flush=True)
    try:
        while not Path(payload).exists():
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        print("cancelled")
        raise


@handler("wait.thread")
def wait_in_thread(payload: Any, context: Context) -> None:
    print("waiting", flush=True)
    while not Path(payload).exists() and not context.is_cancelled:
        time.sleep(0.01)
    if context.is_cancelled:
        print("cancelled")


@handler("hang")
def hang(payload: Any, context: Context) -> None:
    """Never look whether it shall stop."""
    print("hanging", flush=True)
    threading.Event().wait(60)


@handler("block")
async def block(payload: Any, context: Context) -> None:
    """Hold up the event loop, as no async function should."""
    print("blocking", flush=True)
    threading.Event().wait(60)


@handler("slow", timeout_seconds=0.1)
async def slow(payload: Any, context: Context) -> None:
    assert context.deadline is not None
    await asyncio.sleep(60)


@handler("crash")
def crash(payload: Any, context: Context) -> None:
    print("crashing", flush=True)
    os._exit(payload)


@handler("count", concurrency=3)
async def count(payload: Any, context: Context) -> None:
    """Note begin and end in a file."""
    with Path(payload).open("a") as file:
        file.write("+")
    await asyncio.sleep(0.1)
    with Path(payload).open("a") as file:
        file.write("-")


@handler("tally")
async def tally(payload: Any, context: Context) -> None:
    """The same with as many places as there are slots."""
    await count(payload, context)


@handler("once")
async def fail_once(payload: Any, context: Context) -> None:
    if context.attempt == 1:
        raise Retry("RATE_LIMIT", "too early")


@handler("process")
def tell_process(payload: Any, context: Context) -> None:
    names = ("PODLING_JOIN", "DATABASE_URL", "DATABASE_DIRECT_URL", "DATABASE_READ_URL", "SHOP")
    print(os.getpid(), *map(os.environ.get, names))


@handler("resume")
def resume(payload: Any, context: Context) -> None:
    """Fail half way, and go on from there when tried again."""
    task = current(context.environment)
    last = task.last_checkpoint()
    if last is None:
        task.checkpoint(payload, progress=50)
        raise Retry("DEPENDENCY_DOWN")
    with task.lock("resume", wait_seconds=10) as lock:
        task.result({"attempt": task.attempt, "from": last["data"], "fence": lock.token > 0})
