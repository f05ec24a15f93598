"""What the program makes of the operator's settings."""

import asyncio
import gc
import os
import signal
from pathlib import Path

import aiohttp
import pytest

from podling.boot.master import opened_store, running_master, serve
from podling.boot.settings import read_master
from podling.kit.garbage import Collector
from podling.store.postgres.store import PostgresStore


async def test_a_leader_waits_in_a_transaction_for_a_quarter_of_its_lease() -> None:
    environ = {"DATABASE_URL": "postgres://user@127.0.0.1:1/nowhere", "STORE_TYPE": "postgres"}
    async with opened_store(read_master(["--lease-seconds", "8"], environ)) as store:
        assert isinstance(store, PostgresStore)
        assert store.leader_timeout_seconds == 2.0


async def test_a_port_that_was_chosen_is_the_one_that_others_are_told(tmp_path: Path) -> None:
    settings = read_master(["--port", "0", "--data-dir", str(tmp_path)], {})
    async with (
        running_master(settings) as address,
        aiohttp.ClientSession() as http,
        http.get(f"{address}/api/v1/cluster") as answer,
    ):
        (told,) = (await answer.json())["masters"]
    assert told["advertiseUrl"] == address


async def test_a_master_that_has_started_has_garbage_looked_at_from_time_to_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def stop(collector: Collector) -> None:
        if not asked:
            os.kill(os.getpid(), signal.SIGTERM)
        asked.append(collector)

    before = gc.get_threshold()
    monkeypatch.setattr("podling.kit.garbage.CALM_SECONDS", 0.01)
    monkeypatch.setattr(Collector, "look_again", stop)
    settings = read_master(["--port", "0", "--data-dir", str(tmp_path)], {})
    async with asyncio.timeout(20.0):
        await serve(settings)
    gc.set_threshold(*before)
    assert asked
    assert not gc.get_freeze_count()
