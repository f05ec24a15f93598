"""Backup and restore: one moment, whole, checked, and never over what is there."""

import asyncio
import json
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from podling.core.access import Role
from podling.core.audit import AuditEntry, Outcome
from podling.core.errors import ConfigurationError, Conflict, InvalidInput
from podling.core.lifecycle import Cancel
from podling.core.task import Task
from podling.core.timeline import RESTORED
from podling.core.token import Token
from podling.store.base import LogTail, TaskQuery, WriteStatus
from podling.store.ports.audit import AuditQuery
from podling.store.ports.tokens import StoredToken
from podling.store.postgres import install
from podling.store.postgres.archive import Archive
from podling.store.postgres.backup import backup
from podling.store.postgres.restore import LEAP, restore
from podling.store.postgres.store import PostgresStore
from tests.builders import (
    NOW,
    assignment,
    build_batch,
    build_master,
    build_node,
    build_task,
    happening,
    insertion,
)
from tests.conftest import ServerOf
from tests.postgres_servers import PostgresServer


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(dsn, pool_size=2)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def fill(store: PostgresStore) -> Task:
    """Put one task of every kind there, with all that hangs on it; return the live one."""
    await store.register_master(build_master())
    await store.open_session(build_node())
    pending = build_task(name="tab\tand \\ and \n line", idempotency_key="key", labels={"ü": "\u2028"})
    live, gone = build_task(), build_task(priority=-3)
    await store.commit(build_batch([insertion(pending, "hash"), insertion(live), insertion(gone)]))
    await store.commit(build_batch([assignment(live), happening(gone, Cancel())]))
    token = Token(token_id="t-1", name="ada", role=Role.ADMIN, created_at=NOW)
    await store.tokens.write(lambda known: StoredToken(token=token, secret_hash="hash"))
    entry = AuditEntry(at=NOW, actor="ada", method="POST", route="/", outcome=Outcome.DONE, status=201)
    await store.audit.add([entry])
    await store.save_tails([LogTail(task_id=live.task_id, attempt=1, frames=b"\x00\xff\\", final=True)])
    return live


async def content(store: PostgresStore) -> dict[str, Any]:
    tasks = list(await store.list_tasks(TaskQuery()))
    return {
        "tasks": tasks,
        "attempts": [list(await store.load_attempts(task.task_id)) for task in tasks],
        "tails": [await store.load_tail(task.task_id, 1) for task in tasks],
        "ready": [task.task_id for task in await store.ready_page(10)],
        "cluster": await store.cluster_id(),
        "tokens": await store.tokens.changed_since(0),
        "audit": list(await store.audit.find(AuditQuery(limit=10))),
    }


@pytest.mark.parametrize(("source", "target"), [("embedded", "debian"), ("debian", "embedded")])
async def test_everything_is_there_again_on_another_version(
    source: str, target: str, server_of: ServerOf, tmp_path: Path
) -> None:
    file = tmp_path / "all.podling"
    async with server_of(source).database() as old, server_of(target).empty_database() as new:
        async with opened(old) as store:
            await fill(store)
            before = await content(store)
            manifest, size = await backup(old, file)
        assert size == file.stat().st_size
        assert file.stat().st_mode & 0o077 == 0  # tasks may carry secrets in their environment
        await restore(new, file)
        assert (await install.verify(new)).is_sound
        async with opened(new) as store:
            assert await content(store) == before
            again = build_task(idempotency_key="key")
            [result] = await store.commit(build_batch([insertion(again, "hash")]))
            assert (result.status, result.same_body) == (WriteStatus.DUPLICATE, True)
            await store.commit(build_batch([insertion(build_task())]))  # no number is used twice
            await store.audit.add([before["audit"][0].entry])
    assert {table.name: table.rows for table in manifest.tables}["live_tasks"] == 2


async def test_a_backup_is_of_one_moment(dsn: str, postgres_server: PostgresServer, tmp_path: Path) -> None:
    done = asyncio.Event()

    async def submit_on(store: PostgresStore) -> int:
        number = 0
        while not done.is_set():
            number += 1
            await store.commit(build_batch([insertion(build_task(idempotency_key=f"key-{number}"), "h")]))
        return number

    async with opened(dsn) as store, postgres_server.empty_database() as new:
        submitting = asyncio.create_task(submit_on(store))
        await backup(dsn, tmp_path / "first")
        await backup(dsn, tmp_path / "second")
        done.set()
        assert await submitting > 0
        await restore(new, tmp_path / "second")
        connection = await asyncpg.connect(new)
        try:
            counts = [
                await connection.fetchval(f"SELECT count(*) FROM {table}")
                for table in ("live_tasks", "task_specs", "idempotency_keys")
            ]
        finally:
            await connection.close()
    assert counts[0] > 0
    assert len(set(counts)) == 1


async def test_a_restore_goes_beyond_all_that_was_given_after_the_backup(
    dsn: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    file = tmp_path / "all.podling"
    async with opened(dsn) as store, postgres_server.empty_database() as new:
        live = await fill(store)
        epoch = await store.take_leadership("machine", await store.leadership())
        assert epoch is not None
        await backup(dsn, file)
        assert (await restore(new, file)).live_attempts == 1
        async with opened(new) as restored:
            leadership = await restored.leadership()
            assert leadership.epoch >= epoch + LEAP
            assert leadership.holder is None
            assert await restored.load_masters() == []
            assert await restored.open_session(build_node()) > LEAP
            [event] = await restored.load_events(live.task_id)
            assert (event.type, event.attempt) == (RESTORED, 1)


async def given_after(dsn: str, file: Path, *, replace: bool = False) -> tuple[int, int]:
    """Restore, and return the epoch of the first leader and the first session's number."""
    await restore(dsn, file, replace=replace)
    async with opened(dsn) as restored:
        epoch = await restored.take_leadership("machine", await restored.leadership())
        assert epoch is not None
        return epoch, await restored.open_session(build_node())


async def test_a_second_restore_gives_nothing_out_again(
    dsn: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    file = tmp_path / "all.podling"
    async with opened(dsn) as store:
        await fill(store)
        await backup(dsn, file)
    async with postgres_server.empty_database() as one, postgres_server.empty_database() as two:
        given = [await given_after(one, file), await given_after(two, file)]
        given.append(await given_after(one, file, replace=True))
    for first, elsewhere, again in zip(*given, strict=True):
        assert first < again
        assert elsewhere not in (first, again)


async def test_a_restore_goes_beyond_what_the_database_gave_out_by_a_clock_that_was_ahead(
    dsn: str, tmp_path: Path
) -> None:
    ahead = 2**52
    async with opened(dsn) as store:
        await fill(store)
        await backup(dsn, tmp_path / "all")
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(f"UPDATE leadership SET epoch = {ahead}")
            await connection.execute(f"UPDATE node_records SET session_no = {ahead}")
        finally:
            await connection.close()
    epoch, session_no = await given_after(dsn, tmp_path / "all", replace=True)
    assert min(epoch, session_no) > ahead + LEAP


async def test_a_restore_gives_no_token_out_again(dsn: str, tmp_path: Path) -> None:
    """Neither one that was given after the backup, nor by a clock that was ahead."""
    async with opened(dsn) as store:
        held = await store.coordination.locks.acquire("k", "me", 60)
        assert held is not None
        await store.coordination.cache.put("c", "1", None)
        await backup(dsn, tmp_path / "all")
        after = await store.coordination.locks.acquire("k", "me", 60)
        assert after is not None and after.token > held.token
    for ahead in (after.token, 2**52):
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(f"SELECT setval('podling_locks_token_seq', {ahead})")
        finally:
            await connection.close()
        await restore(dsn, tmp_path / "all", replace=True)
        async with opened(dsn) as restored:
            assert await restored.coordination.cache.get("c") == "1"
            found = await restored.coordination.locks.find("k")
            assert found is not None and found.token == held.token, "it is held as long as it was to be"
            again = await restored.coordination.locks.acquire("k", "me", 60)
            assert again is not None and again.token > ahead


async def test_a_backup_has_no_key_of_credentials(dsn: str, tmp_path: Path) -> None:
    key, later = b"k" * 32, b"l" * 32
    async with opened(dsn) as store:
        assert await store.task_keys.shared(key) == key
    await backup(dsn, tmp_path / "all")
    with zipfile.ZipFile(tmp_path / "all") as archive:
        assert not [name for name in archive.namelist() if key.hex().encode() in archive.read(name)]
    await restore(dsn, tmp_path / "all", replace=True)
    async with opened(dsn) as restored:
        assert await restored.task_keys.shared(later) == later


async def test_history_keeps_its_months(dsn: str, postgres_server: PostgresServer, tmp_path: Path) -> None:
    async with opened(dsn) as store, postgres_server.empty_database() as new:
        task = build_task()
        await store.commit(build_batch([insertion(task)]))
        await store.commit(build_batch([happening(task, Cancel())]))
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(
                "CREATE TABLE ended_tasks_2024_12 PARTITION OF ended_tasks "
                "FOR VALUES FROM ('2024-12-01 00:00:00+00') TO ('2025-01-01 00:00:00+00');"
                "UPDATE ended_tasks SET ended_at = '2024-12-31 23:59:59+00'"
            )
        finally:
            await connection.close()
        await backup(dsn, tmp_path / "all")
        await restore(new, tmp_path / "all")
        async with opened(new) as restored:
            assert [found.task_id for found in await restored.list_tasks(TaskQuery())] == [task.task_id]
            assert (await restored.maintain(timedelta(days=1))).partitions_dropped == 1


async def test_what_is_there_is_lost_only_when_told(
    dsn: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    file = tmp_path / "all.podling"
    async with opened(dsn) as store, postgres_server.database() as other:
        await fill(store)
        before = await content(store)
        await backup(dsn, file)
        async with opened(other) as target:
            kept = build_task(created_at=NOW)
            await target.commit(build_batch([insertion(kept)]))
            with pytest.raises(Conflict, match=r"not empty.*--replace"):
                await restore(other, file)
            assert [task.task_id for task in await target.list_tasks(TaskQuery())] == [kept.task_id]
            await restore(other, file, replace=True)
        async with opened(other) as target:
            assert await content(target) == before


def _without_its_end(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def _another_table(file: Path) -> None:
    with zipfile.ZipFile(file) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(file, "w") as changed:
        for name, text in parts.items():
            changed.writestr(name, text + b"x" if name.startswith("tables/live") else text)


def _flipped(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        tables = [member for member in archive.infolist() if member.filename.startswith("tables/")]
    largest = max(tables, key=lambda member: member.compress_size)
    data = bytearray(file.read_bytes())
    data[largest.header_offset + len(largest.FileHeader()) + largest.compress_size // 2] ^= 0xFF
    file.write_bytes(data)


def _text(file: Path) -> None:
    file.write_text("SELECT 1;")


@pytest.mark.parametrize("damage", [_without_its_end, _another_table, _flipped, _text])
async def test_a_damaged_file_changes_nothing(
    damage: Any, dsn: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    file = tmp_path / "all.podling"
    async with opened(dsn) as store, postgres_server.empty_database() as new:
        await fill(store)
        await backup(dsn, file)
        damage(file)
        with pytest.raises(InvalidInput, match=r"cut off|damaged"):
            await restore(new, file)
        assert (await install.verify(new)).applied == ()


def _foreign(tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*tables, {"name": "wages", "columns": ["amount"], "rows": 1, "sha256": sha256(b"1").hexdigest()}]


def _fewer(tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [table for table in tables if table["name"] != "live_tasks"]


def _fewer_columns(tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [table | {"columns": table["columns"][:-1]} for table in tables]


def _twice(tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*tables, tables[0]]


@pytest.mark.parametrize("change", [_foreign, _fewer, _fewer_columns, _twice])
async def test_a_file_with_other_tables_changes_nothing(
    change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]],
    dsn: str,
    connection: asyncpg.Connection,
    tmp_path: Path,
) -> None:
    file = tmp_path / "all.podling"
    await connection.execute("CREATE TABLE wages (amount integer)")
    async with opened(dsn) as store:
        await fill(store)
        await backup(dsn, file)
        before = await content(store)
        with zipfile.ZipFile(file) as whole:
            parts = {name: whole.read(name) for name in whole.namelist()}
        manifest = json.loads(parts["manifest.json"])
        parts["manifest.json"] = json.dumps(manifest | {"tables": change(manifest["tables"])}).encode()
        parts["tables/wages.copy"] = b"1"
        with zipfile.ZipFile(file, "w") as changed:
            for name, text in parts.items():
                changed.writestr(name, text)
        with pytest.raises(InvalidInput, match="not those of Podling's schema"):
            await restore(dsn, file, replace=True)
        assert await content(store) == before
    assert await connection.fetch("SELECT FROM wages") == []


async def test_a_newer_schema_is_refused(dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "all.podling"
    await backup(dsn, file)
    archive = Archive.open(file)
    archive.close()
    with zipfile.ZipFile(file) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    checksum = archive.manifest.migrations[-1]
    parts["manifest.json"] = parts["manifest.json"].replace(checksum.encode(), b"0" * 64)
    with zipfile.ZipFile(file, "w") as changed:
        for name, text in parts.items():
            changed.writestr(name, text)
    with pytest.raises(ConfigurationError, match="a schema that this program does not know"):
        await restore(dsn, file)


async def test_a_backup_that_fails_leaves_the_file_as_it_was(
    dsn: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    file = tmp_path / "all.podling"
    await backup(dsn, file)
    before = file.read_bytes()
    async with postgres_server.empty_database() as empty:
        with pytest.raises(ConfigurationError, match="podling db migrate"):
            await backup(empty, file)
    with pytest.raises(InvalidInput, match="cannot be written"):
        await backup(dsn, tmp_path / "no such folder" / "file")
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
