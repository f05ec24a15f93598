"""Readers of logs that go away in the middle: nothing may be left of them."""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from typing import Any

import aiohttp

from podling.client import tasks
from podling.core.errors import PodlingError
from tests.docker_engine import IMAGE
from tests.soak.cluster import RUN_VARIABLE, Cluster, until

PARALLEL = 16
TALKING = 'while :; do echo "line $((n=n+1))"; sleep 0.2; done'


async def abort_streams(cluster: Cluster, count: int, dice: random.Random) -> Counter[str]:
    """Follow the log of a talking task so often through random masters, and break it off each time."""
    talking = [await _talking_task(cluster, spec) for spec in _specs(cluster)]
    numbers = iter(range(count))
    outcomes: Counter[str] = Counter()
    connector = aiohttp.TCPConnector(limit=PARALLEL, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as http:

        async def reader() -> None:
            for _ in numbers:
                outcomes[await _abort_one(http, cluster, dice.choice(talking), dice)] += 1

        await asyncio.gather(*(reader() for _ in range(PARALLEL)))
    for task_id in talking:
        await _end(cluster, task_id)
    return outcomes


def _specs(cluster: Cluster) -> list[dict[str, Any]]:
    """Return a task that talks without end, for each runtime that has a log."""
    every = {"name": "soak-talks", "env": {RUN_VARIABLE: cluster.run}, "stopGraceSeconds": 1}
    process = {"runtime": "process", "command": ["/bin/busybox", "sh", "-c", TALKING]}
    container = {"image": IMAGE, "network": "none", "command": ["sh", "-c", TALKING]}
    return [every | process, *([every | container] if cluster.engines else [])]


async def _talking_task(cluster: Cluster, spec: dict[str, Any]) -> str:
    client = next(iter(cluster.masters.values())).client
    task_id = str((await client.submit(spec))["taskId"])

    async def runs() -> bool:
        return bool((await client.send(tasks.read(task_id)))["status"] == "running")

    await until("the talking task runs", runs)
    return task_id


async def _abort_one(http: aiohttp.ClientSession, cluster: Cluster, task_id: str, dice: random.Random) -> str:
    master = dice.choice(list(cluster.masters.values()))
    url = f"{master.url}/api/v1/tasks/{task_id}/logs?follow=true"
    try:
        async with asyncio.timeout(dice.uniform(0.005, 0.4)), http.get(url) as answer:
            got = b""
            while chunk := await answer.content.readany():
                got += chunk
            return f"ended with {answer.status} {'after some text' if got else 'without text'}"
    except TimeoutError:
        return "broken off"
    except aiohttp.ClientError as error:
        return type(error).__name__


async def _end(cluster: Cluster, task_id: str) -> None:
    client = next(iter(cluster.masters.values())).client

    async def ended() -> bool:
        with suppress(PodlingError):
            await client.send(tasks.cancel(task_id))
        return bool((await client.send(tasks.read(task_id)))["status"] == "cancelled")

    await until("the talking task has ended", ended)
