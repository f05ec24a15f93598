"""Functions that do what one does not expect of them."""

import asyncio
import subprocess
from collections.abc import Awaitable
from typing import Any

from podling.handlers import Context, Fail, handler


@handler("unsayable")
def fail_unsayably(payload: Any, context: Context) -> None:
    """As an OSError does that tells of a file whose name is not UTF-8."""
    raise (Fail("BAD_PAYLOAD", "no \udcff") if payload == "fail" else ValueError("no \udcff\0 file"))


@handler("group")
async def fail_in_a_group(payload: Any, context: Context) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_fail())


async def _fail() -> None:
    raise Fail("BAD_PAYLOAD", "there is no address")


@handler("unawaited")
def return_a_coroutine(payload: Any, context: Context) -> Awaitable[None]:
    return _fail()


class Greeter:
    """An object may be a function too."""

    async def __call__(self, payload: Any, context: Context) -> None:
        print("hello")


handler("object")(Greeter())


@handler("program")
def run_a_program(payload: Any, context: Context) -> None:
    """Start a program, say its id, and wait for it."""
    with subprocess.Popen(["sleep", "300"]) as program:
        print(program.pid, flush=True)


@handler("single", concurrency=1)
async def run_alone(payload: Any, context: Context) -> None:
    await asyncio.sleep(60)
