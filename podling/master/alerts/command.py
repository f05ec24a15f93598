"""Commands on the master's own machine: those alone that the operator listed in its settings."""

import asyncio
import os
import signal
from asyncio.subprocess import STDOUT, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from tempfile import TemporaryFile
from typing import IO

from podling.master.alerts.delivery import Content, Refused, Target, Unreachable, shortened

SECONDS = 30.0
MOST_OUTPUT_BYTES = 4096
_CHUNK = 64 * 1024
_GRACE_SECONDS = 0.5  # for the end of its output
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER")


class CommandSender:
    """No shell is in between; the message comes as JSON on standard input."""

    def __init__(self, commands: Mapping[str, tuple[str, ...]], seconds: float = SECONDS) -> None:
        self._commands = commands
        self._seconds = seconds

    async def send(self, target: Target, content: Content) -> str:
        words = self._commands.get(target.command or "")
        if words is None:
            raise Refused(f"this master has no --alert-command {target.command}")
        async with _Output() as output:
            code = await self._run(words, output.descriptor, content)
            said = await output.text()
        if code != 0:
            raise Refused(f"the command ended with exit code {code}" + (f": {said}" if said else ""))
        return f"exit code 0{f': {said}' if said else ''}"

    async def _run(self, words: Sequence[str], output: int, content: Content) -> int:
        """Return its exit code; nothing that it started goes on."""
        # A file, for a pipe breaks in as many ways as there are loops when a command ends without reading.
        with TemporaryFile() as told:
            told.write(content.body)
            told.seek(0)
            process = await _start(words, told, output, content)
        try:
            async with asyncio.timeout(self._seconds):
                return await process.wait()
        except TimeoutError:
            raise Refused(f"the command did not end within {self._seconds:g} s, and was killed") from None
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _start(words: Sequence[str], told: IO[bytes], output: int, content: Content) -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            *words,
            stdin=told,
            stdout=output,
            stderr=STDOUT,
            env=_environment(content),
            start_new_session=True,
        )
    except OSError as error:
        raise Unreachable(f"the command cannot be started: {error.strerror or error}") from None


def _environment(content: Content) -> dict[str, str]:
    """Nothing of the master's own settings, which hold passwords."""
    facts = content.message.first.facts
    told = {
        "PODLING_ALERT_EVENT": str(content.message.first.event),
        "PODLING_ALERT_ID": content.message.message_id,
        "PODLING_ALERT_TASK_ID": facts.task_id or "",
    }
    return {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ} | told


class _Output:
    """What a command prints: all is taken, so that it never waits for a reader, and the beginning kept.

    The pipe is not asyncio's own, whose `wait` would wait for everybody who has got hold of it.
    """

    async def __aenter__(self) -> "_Output":
        reading, self.descriptor = os.pipe()
        self._is_open, self._kept = True, bytearray()
        reader = asyncio.StreamReader()
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", buffering=0)
        )
        self._reading = asyncio.create_task(self._read(reader))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close()
        self._reading.cancel()
        self._transport.close()

    async def text(self) -> str:
        """Return the beginning of it, once the command has ended."""
        self._close()
        await asyncio.wait([self._reading], timeout=_GRACE_SECONDS)
        return shortened(bytes(self._kept).decode(errors="replace"))

    def _close(self) -> None:
        if self._is_open:
            os.close(self.descriptor)
        self._is_open = False

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while chunk := await reader.read(_CHUNK):
            self._kept += chunk[: MOST_OUTPUT_BYTES - len(self._kept)]
