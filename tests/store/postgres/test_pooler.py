"""The store behind pgbouncer, which gives every transaction another session."""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from podling.store.postgres.store import PostgresStore
from tests.builders import assignment, build_batch, build_task, insertion
from tests.conftest import ServerOf
from tests.support import require

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PATIENCE_SECONDS = 10


@asynccontextmanager
async def pooler(dsn: str, folder: Path) -> AsyncIterator[str]:
    """Run pgbouncer in transaction mode before the server; give the address through it."""
    assert PGBOUNCER is not None
    server = urlsplit(dsn)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "users").write_text(f'"{server.username}" "{server.password}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={server.hostname} port={server.port}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\npool_mode = transaction\n"
        f"auth_type = scram-sha-256\nauth_file = {folder / 'users'}\ndefault_pool_size = 3\n"
        f"logfile = {folder / 'log'}\n"
    )
    folder.chmod(0o777)
    user = ["-u", "postgres"] if os.geteuid() == 0 else []
    process = subprocess.Popen([PGBOUNCER, "-q", *user, str(folder / "pgbouncer.ini")])
    try:
        await _until_it_listens(port)
        yield f"postgresql://{server.username}:{server.password}@127.0.0.1:{port}{server.path}"
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


async def _until_it_listens(port: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


async def test_it_works_through_a_transaction_pooler(server_of: ServerOf, open_folder: Path) -> None:
    require(PGBOUNCER, "pgbouncer is not installed")
    server = server_of("debian")
    async with server.empty_database() as direct, pooler(direct, open_folder) as pooled:
        store = PostgresStore(pooled, direct_dsn=direct)
        await store.open()
        hinted = asyncio.Event()
        listening = asyncio.create_task(store.listen(hinted.set))
        try:
            await asyncio.wait_for(hinted.wait(), PATIENCE_SECONDS)
            hinted.clear()
            await asyncio.gather(*(_live(store, number) for number in range(8)))
            assert len((await store.snapshot()).live_tasks) == 40
            await asyncio.wait_for(hinted.wait(), PATIENCE_SECONDS)
            async with store._pool.transaction() as connection:
                assert await connection.fetchval("SHOW plan_cache_mode") == "force_custom_plan"
        finally:
            listening.cancel()
            await asyncio.wait([listening])
            await store.close()


async def _live(store: PostgresStore, number: int) -> None:
    """Commit and read as one of several masters at once."""
    tasks = [build_task() for _ in range(5)]
    for task in tasks:
        await store.commit(build_batch([insertion(task)], master_id=f"master-{number}"))
        await store.commit(build_batch([assignment(task)], master_id=f"master-{number}"))
        assert (await store.load_tasks([task.task_id]))[task.task_id].version == 2
        await store.promote(task.run_at, 10)
