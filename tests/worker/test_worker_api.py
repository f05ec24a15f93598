"""The worker's own API: who is answered."""

from pathlib import Path

import aiohttp
import pytest
from multidict import CIMultiDict

from tests.worker.conftest import running_worker
from tests.worker.memory_runtime import MemoryRuntime
from tests.worker.small_master import SmallMaster

TOKEN = "podling_worker_" + "7" * 64


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Authorization", f"Bearer {TOKEN}")], 404),
        ([("X-Api-Key", TOKEN)], 404),
        ([], 401),
        ([("Authorization", f"Bearer {TOKEN[:-1]}")], 401),
        ([("Authorization", TOKEN)], 401),
        ([("X-Api-Key", "")], 401),
        ([("Authorization", f"Bearer {TOKEN}"), ("X-Api-Key", "other")], 401),
    ],
)
async def test_it_answers_who_shows_the_token_that_it_was_started_with(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster, headers: list[tuple[str, str]], status: int
) -> None:
    async with running_worker(tmp_path, runtime, master.url, token=TOKEN):
        await master.until("it is connected", lambda: master.beats)
        url = f"http://127.0.0.1:{master.hellos[-1].port}"
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{url}/health") as health:
                assert health.status == 200
            async with http.get(f"{url}/api/v1/tasks/x/status", headers=CIMultiDict(headers)) as answer:
                assert answer.status == status
                assert TOKEN not in await answer.text()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 404),
        ({"Host": "localhost:8071"}, 404),
        ({"Host": "my-machine"}, 404),
        ({"Origin": "http://127.0.0.1:3000"}, 404),
        ({"Host": "evil.example:8071"}, 401),
        ({"Host": "localhost.evil.example"}, 401),
        ({"Origin": "https://evil.example"}, 401),
        ({"Origin": "null"}, 401),
    ],
)
async def test_without_a_token_a_page_from_elsewhere_reads_nothing(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster, headers: dict[str, str], status: int
) -> None:
    async with running_worker(tmp_path, runtime, master.url):
        await master.until("it is connected", lambda: master.beats)
        url = f"http://127.0.0.1:{master.hellos[-1].port}"
        async with aiohttp.ClientSession(headers=headers) as http:
            for path in ("/api/v1/tasks/x/status", "/api/v1/pods/x/logs"):
                async with http.get(f"{url}{path}") as answer:
                    assert answer.status == status
                    told = (await answer.json())["code"]
                    assert told == ("another_site" if status == 401 else "task_not_found")
            async with http.get(f"{url}/metrics") as answer:
                assert answer.status == (401 if status == 401 else 200)
            async with http.get(f"{url}/health") as answer:
                assert answer.status == 200
