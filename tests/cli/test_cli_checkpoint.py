"""`podling checkpoint`, and the progress of a task in `podling ps`, against the real master."""

import asyncio
import json
from collections.abc import Iterator

import pytest

from podling.client import AsyncClient
from tests.cli.conftest import Cli
from tests.cli.masters import running_master
from tests.master.fake_worker import FakeWorker
from tests.master.inside import credential


@pytest.fixture
def url() -> Iterator[str]:
    with running_master("memory") as address:
        yield address


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, url: str) -> Cli:
    return Cli(monkeypatch, url)


async def _run_a_little(url: str) -> str:
    """Have a task say something and be left alone; return its id."""
    worker = FakeWorker(url)
    await worker.connect()
    async with AsyncClient(url) as client:
        handle = await client.run("long", image="box")
    work = await worker.assigned(handle.id)
    await worker.start(work)
    async with AsyncClient(url, token=credential(worker, work.key)) as inside:
        for row in (1, 2, 3):
            saved = await inside.checkpoints.save(handle.id, {"row": row}, progress=10 * row)
        assert await inside.checkpoints.latest(handle.id) == saved
        await inside.checkpoints.say_progress(handle.id, 35)
        await inside.checkpoints.say_result(handle.id, None)
    await worker.close()
    return handle.id


def test_checkpoints_are_listed_shown_and_removed(cli: Cli, url: str) -> None:
    task_id = asyncio.run(_run_a_little(url))
    assert "35 % done" in cli("ps").out
    told = cli("events", "--since", "5m", "-n", "6").out
    assert f"task.updated     {task_id}  long  attempt 1  on node-1  35 % done" in told
    listed = json.loads(cli("checkpoint", "ls", "long", "--json").out)
    assert [(one["taskId"], one["sequence"]) for one in listed] == [(task_id, n) for n in (3, 2, 1)]
    table = cli("checkpoint", "ls", task_id, "--limit", "1").out.splitlines()
    assert len(table) == 2 and '{"row": 3}' in table[1] and "30 %" in table[1]
    shown = cli("checkpoint", "show", "long").out
    assert "sequence:" in shown and '{"row": 3}' in shown and "estimatedSecondsRemaining" not in shown
    assert cli("checkpoint", "rm", "long", "--keep", "1").out == "2 removed\n"
    assert json.loads(cli("checkpoint", "rm", "long", "--json").out) == [{"taskId": task_id, "removed": 1}]
    gone = cli("checkpoint", "show", "long")
    assert (gone.code, gone.out) == (3, "") and "saved no checkpoint" in gone.err
    assert cli("checkpoint", "ls", "nobody").code == 3


async def _from_elsewhere(url: str) -> None:
    """The blocking client has the same."""
    from podling.client import Client

    task_id = await _run_a_little(url)
    with Client(url) as client:
        found = [one["sequence"] for one in client.checkpoints.of(task_id, page=2)]
        assert found == [3, 2, 1]
        assert client.checkpoints.cleanup(task_id) == 2 and client.checkpoints.delete_all(task_id) == 1
        assert client.checkpoints.latest(task_id) is None


def test_the_blocking_client_reads_and_removes_them(url: str) -> None:
    asyncio.run(_from_elsewhere(url))
