"""The policy's file is read at the start, and again at SIGHUP."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from podling.boot.master import running_master
from podling.boot.policy import reloading
from podling.boot.settings import read_master, read_worker
from podling.core.errors import ConfigurationError
from podling.core.permissions import Allowed, Policy

NONE = Policy(networks=Allowed(allow=("none",)))


def test_both_programs_read_it(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("networks: {allow: [none]}")
    assert read_master(["--policy", str(file)], {}).policy == NONE
    assert read_worker([], {"PODLING_POLICY": str(file)}).policy == NONE
    assert read_worker([], {}).policy == Policy()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot be read: No such file or directory"),
        ("networks: {alow: []}", "line 1: networks.alow: there is no such rule"),
        (b"\xff", "is not UTF-8"),
    ],
)
def test_a_program_does_not_start_with_a_broken_one(tmp_path: Path, text: Any, problem: str) -> None:
    file = tmp_path / "policy.yaml"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    for read in (read_master, read_worker):
        with pytest.raises(ConfigurationError) as refused:
            read(["--policy", str(file), "--port", "x"], {})
        assert problem in refused.value.message
        assert str(file) in refused.value.message
        assert "--port" in refused.value.message, "all faults are told together"


async def test_a_hangup_reads_it_again_and_a_fault_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    told: asyncio.Queue[Any] = asyncio.Queue()
    with reloading(file, told.put_nowait, told.put_nowait):
        for text, expected in (("networks: {allow: [none]}", NONE), ("networks: 3", "must be a mapping")):
            file.write_text(text)
            os.kill(os.getpid(), signal.SIGHUP)
            async with asyncio.timeout(20):
                answer = await told.get()
            assert answer == expected or expected in answer
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


async def test_a_master_decides_by_the_new_one_at_once(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("")
    flags = ["--policy", str(file), "--port", "0", "--data-dir", str(tmp_path / "data")]
    async with running_master(read_master(flags, {})) as url, aiohttp.ClientSession() as http:
        assert (await changed(http, url, file, "networks: {allow: [none]}"))["problem"] is None
        body = {"name": "x", "image": "busybox"}
        async with http.post(f"{url}/api/v1/tasks", json=body) as answer:
            assert (await answer.json())["details"]["rule"] == "networks.allow"
        kept = await changed(http, url, file, "networks: 3")
        assert "must be a mapping" in kept["problem"]
        assert kept["policy"]["networks"] == {"allow": ["none"]}


async def changed(http: aiohttp.ClientSession, url: str, file: Path, text: str) -> dict[str, Any]:
    """Return what the master shows after a change of the file."""
    before = await shown(http, url)
    file.write_text(text)
    os.kill(os.getpid(), signal.SIGHUP)
    async with asyncio.timeout(20):
        while (now := await shown(http, url)) == before:
            continue
    return now


async def shown(http: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with http.get(f"{url}/api/v1/policy") as answer:
        found: dict[str, Any] = await answer.json()
        return found
