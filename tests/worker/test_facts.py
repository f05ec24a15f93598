"""What a worker tells of its machine."""

from datetime import UTC, datetime
from pathlib import Path

from podling.core.facts import EngineFacts
from tests.worker.conftest import running_worker
from tests.worker.memory_runtime import MemoryRuntime
from tests.worker.small_master import SmallMaster


class WithEngine(MemoryRuntime):
    """A runtime whose engine lies in a directory of this machine."""

    root: str | None = None

    async def describe(self) -> EngineFacts:
        return EngineFacts(name="docker", version="20.10.24", root=self.root)


async def test_it_tells_as_soon_as_it_is_connected(tmp_path: Path, master: SmallMaster) -> None:
    runtime = WithEngine()
    runtime.root = str(tmp_path)
    async with running_worker(tmp_path / "data", runtime, master.url):
        await master.until("the master knows the machine", lambda: master.facts)
    told = master.facts[0]
    assert abs((datetime.now(UTC) - datetime.fromisoformat(told["at"])).total_seconds()) < 30
    assert [disk["name"] for disk in told["disks"]] == ["data directory", "docker directory"]
    assert all(0 < disk["freeBytes"] <= disk["totalBytes"] for disk in told["disks"])
    assert told["engines"] == [
        {"name": "docker", "version": "20.10.24", "root": str(tmp_path), "problem": None}
    ]


async def test_it_tells_again_when_it_is_connected_anew(tmp_path: Path, master: SmallMaster) -> None:
    async with running_worker(tmp_path, MemoryRuntime(), master.url):
        await master.until("the master knows the machine", lambda: master.facts)
        await master.hang_up()
        await master.until("the master knows it again", lambda: len(master.facts) == 2)
    assert master.facts[1]["engines"] == []
