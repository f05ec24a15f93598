"""An engine that answers pings and nothing else, as one does that has locked itself up."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from podling.worker.runtime import docker_engine
from podling.worker.runtime.docker_engine import Engine

DEADLINE_SECONDS = 30.0


class HalfDead:
    """Answers `/_ping` and `/version`; anything else as soon as it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.asked = asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        if request.path.endswith(("/_ping", "/version")):
            return web.json_response({"ApiVersion": "1.41", "MinAPIVersion": "1.12"})
        self.asked.set()
        await self.may_answer.wait()
        return web.json_response({"NCPU": 2})


@pytest.fixture
async def half_dead(tmp_path: Path) -> AsyncIterator[HalfDead]:
    found = HalfDead()
    app = web.Application()
    app.router.add_get("/{path:.*}", found.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "docker.sock")).start()
    yield found
    found.may_answer.set()
    await runner.cleanup()


async def test_one_that_leaves_a_question_unanswered_is_not_well(
    half_dead: HalfDead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(f"unix://{tmp_path / 'docker.sock'}")
    await engine.open()
    async with asyncio.timeout(DEADLINE_SECONDS):
        question = asyncio.create_task(engine.call("info", lambda client: client.info()))
        await half_dead.asked.wait()
        assert await engine.ping() is None
        monkeypatch.setattr(docker_engine, "SILENT_SECONDS", 0.0)
        assert "has left a question unanswered" in (await engine.ping() or "")
        half_dead.may_answer.set()
        assert (await question)["NCPU"] == 2
        assert await engine.ping() is None
    engine.close()
