"""What the journal keeps over the sudden end of its program, and what it says when it cannot."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from podling.core.agent_events import NotedContainer, Notes
from podling.core.agent_instructions import Forget, WriteExit, WriteIntent, WriteNotes
from podling.core.errors import ConfigurationError, Unavailable
from podling.core.protocol import AttemptKey, Report, ReportKind
from podling.worker import journal as journal_module
from podling.worker.datadir import DataDirectory
from podling.worker.journal import Clear, Journal, WriteMeta
from tests.support import require
from tests.worker.conftest import assignment

KEY = AttemptKey(task_id="t1", attempt=1)
NOTES = Notes(containers=(NotedContainer(name="main", container_id="c1"),), running_since=12.5)
FINAL = Report(
    sequence=3,
    task_id="t1",
    attempt=1,
    kind=ReportKind.ENDED,
    at=datetime(2026, 3, 1, 12, tzinfo=UTC),
    exit_code=None,
    error_code="UNKNOWN_EXIT",
)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DataDirectory]:
    found = DataDirectory.open(tmp_path)
    yield found
    found.close()


async def test_keeps_an_attempt_from_intent_to_end(directory: DataDirectory) -> None:
    journal = Journal.open(directory)
    await journal.write(WriteIntent(assignment=assignment()))
    await journal.write(WriteNotes(key=KEY, notes=NOTES), urgent=False)
    await journal.write(WriteExit(key=KEY, final=FINAL))
    await journal.close()

    (row,) = Journal.open(directory).rows()

    assert (row.key, row.assignment, row.notes, row.final, row.done) == (
        KEY,
        assignment(),
        NOTES,
        FINAL,
        False,
    )


async def test_its_owner_alone_reads_any_of_its_files(directory: DataDirectory) -> None:
    for start in ("new", "after a kill -9 of a program that left them open to all"):
        journal = Journal.open(directory)
        await journal.write(WriteIntent(assignment=assignment()))
        files = {file.name: file for file in directory.path.glob("journal.sqlite*")}
        assert {"journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm"} <= files.keys()
        assert {stat.S_IMODE(file.stat().st_mode) for file in files.values()} == {0o600}, start
        left = {name: file.read_bytes() for name, file in files.items()}
        await journal.close()
        for name, content in left.items():
            (directory.path / name).write_bytes(content)
            (directory.path / name).chmod(0o644)


async def test_what_is_done_keeps_its_number_and_its_end(directory: DataDirectory) -> None:
    journal = Journal.open(directory)
    await journal.write(WriteIntent(assignment=assignment()))
    await journal.write(WriteExit(key=KEY, final=FINAL))
    await journal.write(Forget(key=KEY))
    await journal.write(WriteIntent(assignment=assignment()))  # a repeat changes nothing
    await journal.close()

    (row,) = Journal.open(directory).rows()

    assert (row.done, row.assignment, row.final) == (True, None, FINAL)


async def test_what_cannot_be_written_is_told_and_the_next_is_written(directory: DataDirectory) -> None:
    journal = Journal.open(directory)
    async with asyncio.timeout(10.0):
        with pytest.raises(Unavailable):
            await journal.write(WriteMeta(name="half", value="\ud800"))
        await journal.write(WriteMeta(name="whole", value="yes"))
    assert journal.problem is None
    await journal.close()
    assert Journal.open(directory).meta("whole") == "yes"


async def test_a_stream_of_writes_that_may_wait_does_not_wait_for_its_end(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "RIDE_ALONG_SECONDS", 0.2)
    journal = Journal.open(directory)
    first = asyncio.create_task(journal.write(WriteMeta(name="first", value=""), urgent=False))
    async with asyncio.timeout(10.0):
        for number in range(journal_module.MOST_IN_BATCH):
            if first.done():
                break
            journal.write_later(WriteMeta(name="n", value=str(number)))
            await asyncio.wait([first], timeout=0.05)
    assert first.done() and number < 50
    await journal.close()


async def test_what_is_done_is_capped(directory: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "MOST_DONE", 10)
    monkeypatch.setattr(journal_module, "PRUNE_EVERY", 1)
    journal = Journal.open(directory)
    for number in range(1, 31):
        await journal.write(WriteIntent(assignment=assignment("t1", number)))
        await journal.write(Forget(key=AttemptKey(task_id="t1", attempt=number)))
    await journal.close()

    assert [row.key.attempt for row in Journal.open(directory).rows()] == list(range(21, 31))


async def test_many_writes_at_once_are_few_transactions(directory: DataDirectory) -> None:
    journal = Journal.open(directory)
    commits = 0
    commit = journal._commit

    def counted(writes: list[journal_module.Write]) -> Unavailable | None:
        nonlocal commits
        commits += 1
        return commit(writes)

    journal._commit = counted  # type: ignore[method-assign, assignment]
    writes = [WriteIntent(assignment=assignment(f"t{number}")) for number in range(300)]
    await asyncio.gather(*(journal.write(write) for write in writes))
    await journal.close()

    assert len(Journal.open(directory).rows()) == 300
    assert commits < 100


async def test_a_full_disk_is_told_and_overcome(directory: DataDirectory) -> None:
    journal = Journal.open(directory)
    await journal.write(WriteIntent(assignment=assignment()))
    pages = journal._database.execute("PRAGMA page_count").fetchone()[0]
    journal._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unavailable) as caught:
        for number in range(500):
            await journal.write(WriteMeta(name=f"n{number}", value="x" * 4000))
    assert caught.value.code == "disk_full"
    assert journal.problem == "the disk under the worker's data directory is full"

    journal._database.execute("PRAGMA max_page_count = 1000000")
    await journal.write(WriteExit(key=KEY, final=FINAL))

    assert journal.problem is None
    await journal.close()


async def test_clear_forgets_everything(directory: DataDirectory) -> None:
    journal = Journal.open(directory)
    await journal.write(WriteIntent(assignment=assignment()))
    await journal.write(WriteMeta(name="lease", value="1"))
    await journal.write(Clear())
    await journal.close()

    again = Journal.open(directory)
    assert (again.rows(), again.meta("lease")) == ((), None)


def test_a_damaged_file_is_a_sentence(directory: DataDirectory) -> None:
    (directory.path / "journal.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(ConfigurationError, match=r"journal\.sqlite cannot be used"):
        Journal.open(directory)


WRITER = """
import asyncio, sys
from pathlib import Path
from podling.core.agent_instructions import WriteIntent
from podling.worker.datadir import DataDirectory
from podling.worker.journal import Journal
from tests.worker.conftest import assignment

async def main():
    journal = Journal.open(DataDirectory.open(Path(sys.argv[1])))
    number = 0
    while True:
        number += 1
        await journal.write(WriteIntent(assignment=assignment("t1", number)))
        print(number, flush=True)

asyncio.run(main())
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """I15."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for _ in range(50):
        last = writer.stdout.readline()
    os.kill(writer.pid, signal.SIGKILL)
    last = writer.stdout.read().split()[-1:] or [last]
    writer.wait()

    rows = Journal.open(DataDirectory.open(tmp_path)).rows()

    assert {row.key.attempt for row in rows} >= set(range(1, int(last[0]) + 1))


def test_a_directory_serves_one_program(tmp_path: Path) -> None:
    first = DataDirectory.open(tmp_path)
    with pytest.raises(ConfigurationError, match="another worker uses the data directory"):
        DataDirectory.open(tmp_path)
    first.close()
    DataDirectory.open(tmp_path).close()


def test_a_directory_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written: Not a directory"):
        DataDirectory.open(tmp_path / "file" / "below")


def test_a_directory_without_the_right_to_write_is_a_sentence() -> None:
    require(Path("/proc/sys").is_dir(), "a directory that even root cannot write")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        DataDirectory.open(Path("/proc/sys/podling"))


def test_the_node_id_is_kept(directory: DataDirectory) -> None:
    assert directory.node_id(None, "fresh-1") == "fresh-1"
    assert directory.node_id(None, "fresh-2") == "fresh-1"
    assert directory.node_id("given", "fresh-3") == "given"
    assert directory.node_id(None, "fresh-4") == "given"
