"""Podling's programs as children that may be killed, stopped and continued."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_PATIENCE_SECONDS = 60.0


class Program:
    """One program by name; its output goes to `NAME.log`. `started_at` is on the monotonic clock."""

    def __init__(
        self, name: str, kind: str, flags: Sequence[str], directory: Path, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.started_at = 0.0
        self.starts = 0
        code = f"from podling.boot.{kind} import main; raise SystemExit(main())"
        self._command = [sys.executable, "-c", code, *flags]
        self._directory = directory
        self._environment = os.environ | dict(environment)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def age_seconds(self) -> float:
        return time.monotonic() - self.started_at

    async def start(self) -> None:
        """Start it unless it runs."""
        if self.pid is not None:
            return
        self.started_at = time.monotonic()
        self.starts += 1
        with (self._directory / f"{self.name}.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                start_new_session=True,
            )

    async def kill(self) -> None:
        """End it without giving it a chance."""
        if self._process is None or self.pid is None:
            return
        self._process.kill()
        await self._process.wait()

    def pause(self) -> None:
        """Let it hang."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    async def terminate(self) -> int | None:
        """End it by SIGTERM; return its exit code, None if it had to be killed."""
        if self._process is None:
            return 0
        if self.pid is None:
            return self._process.returncode
        self._process.terminate()
        try:
            return await asyncio.wait_for(self._process.wait(), _PATIENCE_SECONDS)
        except TimeoutError:
            await self.kill()
            return None

    async def terminate_twice(self, pause_seconds: float) -> int | None:
        """End it by SIGTERM, and by another one if it has not ended after the pause."""
        self._signal(signal.SIGTERM)
        await asyncio.sleep(pause_seconds)
        return await self.terminate()

    def _signal(self, number: int) -> None:
        if self._process is not None and self.pid is not None:
            self._process.send_signal(number)
