"""What is known of processes lies in a directory: it outlives workers and keepers, also on a full disk."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from podling.core.errors import RuntimeFailure
from podling.worker.runtime.base import Condition
from tests.support import require
from tests.worker.runtime.processes import ended, first_line, keeper_of, runtime_in, shell
from tests.worker.runtime.recorder import Recorder, output_of, run, text_of, work_of


async def test_a_new_worker_finds_what_runs_and_what_ended_meanwhile(tmp_path: Path) -> None:
    first = runtime_in(tmp_path)
    await first.open(Recorder())
    ended_one = work_of("brief", shell("sleep 0.2; exit 5"))
    for work in (ended_one, work_of("long", shell("sleep 1000"))):
        await first.prepare(work)
        await first.start(work.engine_name)
    keeper = keeper_of(tmp_path)
    await first.close()

    recorder = Recorder()
    second = runtime_in(tmp_path)
    await second.open(recorder)
    assert keeper_of(tmp_path) == keeper
    found = {one.container_id: one for one in await second.inventory()}
    assert found["long"].condition is Condition.RUNNING
    if found["brief"].condition is Condition.RUNNING:
        found["brief"] = await recorder.exit_of("brief")
    assert found["brief"].exit_code == 5
    await second.stop("long", None, 10)
    assert (await recorder.exit_of("long")).exit_code == 143
    await second.remove("long")
    await second.remove("brief")
    await second.close()
    await ended(keeper)


async def test_a_keeper_goes_with_its_directory(tmp_path: Path, recorder: Recorder) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    first = runtime_in(before)
    await first.open(Recorder())
    running = await first.prepare(work_of("long", shell("echo ready; sleep 1000")))
    await first.start(running.container_id)
    assert await first_line(first, running.container_id) == "ready"
    keeper = keeper_of(before)
    await first.close()
    before.rename(after)
    second = runtime_in(after)
    await second.open(recorder)
    try:
        assert keeper_of(after) == keeper
        found = await run(second, recorder, work_of("short", shell("echo moved; exit 3")))
        assert (found.exit_code, text_of(await output_of(second, found.container_id))) == (3, b"moved\n")
    finally:
        for one in await second.inventory():
            await second.remove(one.container_id)
        await second.close()


async def test_a_process_that_ended_with_its_keeper_is_told_as_unknown(tmp_path: Path) -> None:
    first = runtime_in(tmp_path)
    await first.open(Recorder())
    await first.prepare(work_of("both", shell("echo $$; sleep 1000")))
    await first.start("both")
    pid = int(await first_line(first, "both"))
    keeper = keeper_of(tmp_path)
    await first.close()
    os.kill(keeper, signal.SIGKILL)
    os.killpg(pid, signal.SIGKILL)
    await ended(keeper)
    await ended(pid)

    second = runtime_in(tmp_path)
    await second.open(Recorder())
    (found,) = await second.inventory()
    assert (found.condition, found.exit_code, found.error_code) == (Condition.EXITED, None, "UNKNOWN_EXIT")
    await second.remove("both")
    await second.close()


async def test_a_torn_journal_line_is_left_out(tmp_path: Path, recorder: Recorder) -> None:
    first = runtime_in(tmp_path)
    await first.open(recorder)
    await run(first, recorder, work_of("kept", shell("exit 6")))
    keeper = keeper_of(tmp_path)
    await first.close()
    await ended(keeper)
    with (tmp_path / "processes" / "journal").open("ab") as journal:
        journal.write(b'{"id": "torn", "sta')

    second = runtime_in(tmp_path)
    await second.open(Recorder())
    assert [(one.container_id, one.exit_code) for one in await second.inventory()] == [("kept", 6)]
    await second.remove("kept")
    await second.close()


async def test_a_folder_with_a_long_name_serves_as_well(tmp_path: Path, recorder: Recorder) -> None:
    folder = tmp_path / ("x" * 120)
    runtime = runtime_in(folder)
    await runtime.open(recorder)
    assert (await run(runtime, recorder, work_of("deep", shell("exit 2")))).exit_code == 2
    await runtime.remove("deep")
    await runtime.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    require(os.geteuid() == 0, "a small disk needs root to mount it")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


async def test_with_a_full_disk_nothing_starts_and_no_exit_is_lost(
    small_disk: Path, tmp_path: Path, recorder: Recorder
) -> None:
    runtime = runtime_in(small_disk)
    await runtime.open(recorder)
    script = f"echo $$; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; exit 5"
    await runtime.prepare(work_of("early", shell(script)))
    await runtime.start("early")
    pid = int(await first_line(runtime, "early"))
    ballast = small_disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass

    with pytest.raises(RuntimeFailure, match="cannot write its journal") as caught:
        for number in range(100):  # as many as the journal's last page has room for
            await runtime.prepare(work_of(f"late-{number}", shell("true")))
            await runtime.start(f"late-{number}")
    assert caught.value.code == "RUNTIME"
    (tmp_path / "go").touch()
    await ended(pid)
    found = {one.container_id: one.condition for one in await runtime.inventory()}
    assert found["early"] is Condition.RUNNING

    ballast.unlink()
    assert (await recorder.exit_of("early")).exit_code == 5
    for container_id in found:
        await runtime.remove(container_id)
    await runtime.close()
