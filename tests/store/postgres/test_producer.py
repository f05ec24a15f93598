"""The producer library, inside transactions of asyncpg and of psycopg."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
from psycopg.rows import dict_row, kwargs_row, namedtuple_row, scalar_row

from podling import producer
from podling.core.errors import InvalidInput, PodlingError, TooLarge
from podling.store.postgres.store import PostgresStore

JOB = {"name": "job", "image": "busybox:local"}
EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "orders.py"


@pytest.fixture
async def inbox(store: PostgresStore) -> "Inbox":
    return Inbox(store)


class Inbox:
    """What has come in, seen from another connection."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    async def ids(self) -> list[str]:
        return [item.task_id for item in await self._items()]

    async def tasks(self) -> list[Any]:
        return [json.loads(item.body) for item in await self._items()]

    async def _items(self) -> Sequence[Any]:
        return await self._store.inbox.page(0, 1000, 10**9)


@pytest.fixture
def blocking(dsn: str) -> "Iterator[psycopg.Connection[Any]]":
    with psycopg.connect(dsn, connect_timeout=10) as opened:
        yield opened


@pytest.fixture
async def awaited(dsn: str) -> "AsyncIterator[psycopg.AsyncConnection[Any]]":
    async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=10) as opened:
        yield opened


async def test_asyncpg_commits_and_rolls_back_with_the_caller(
    inbox: Inbox, connection: asyncpg.Connection
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with connection.transaction():
            await producer.submit(connection, JOB)
            raise ZeroDivisionError
    assert await inbox.ids() == []
    async with connection.transaction():
        first = await producer.submit(connection, JOB | {"queue": "mail"})
        many = await producer.submit_many(connection, (JOB | {"priority": number} for number in range(3)))
        assert await inbox.ids() == []
    assert await inbox.ids() == [first, *many]
    assert [task.get("priority") for task in await inbox.tasks()] == [None, 0, 1, 2]


async def test_psycopg_commits_and_rolls_back_with_the_caller(
    inbox: Inbox, blocking: "psycopg.Connection[Any]"
) -> None:
    producer.submit(blocking, JOB)
    blocking.rollback()
    assert await inbox.ids() == []
    ids = producer.submit_many(blocking, [JOB, JOB])
    assert await inbox.ids() == []
    blocking.commit()
    assert await inbox.ids() == ids


@pytest.mark.parametrize("rows", [dict_row, scalar_row, namedtuple_row, kwargs_row(dict)])
async def test_rows_of_psycopg_may_be_of_any_kind(
    inbox: Inbox, blocking: "psycopg.Connection[Any]", rows: Any
) -> None:
    blocking.row_factory = rows
    ids = producer.submit_many(blocking, [JOB, JOB])
    found = producer.status(blocking, ids[0])
    assert found is not None and found["status"] == "pending"
    blocking.commit()
    assert await inbox.ids() == ids


async def test_psycopg_is_awaited_where_it_is_to_be(
    inbox: Inbox, awaited: "psycopg.AsyncConnection[Any]"
) -> None:
    await producer.submit(awaited, JOB)
    await awaited.rollback()
    task_id = await producer.submit(awaited, JOB)
    await producer.cancel(awaited, task_id)
    assert await producer.status(awaited, "nobody") is None
    await awaited.commit()
    assert await inbox.ids() == [task_id, task_id]


async def test_a_connection_that_reads_json_in_its_own_way_is_given_text(
    inbox: Inbox, connection: asyncpg.Connection
) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    task_id = await producer.submit(connection, JOB)
    found = await producer.status(connection, task_id)
    assert found is not None and found["taskId"] == task_id and await inbox.tasks() == [JOB]


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"name": "job", "nmae": "x"}, "nmae: no such field"),
        ({"image": "busybox:local"}, "name: is required"),
        (JOB | {"priority": 2**31}, "priority: must be at least"),
        (JOB | {"queue": "no such name!"}, "queue: must be"),
        ([], "must be a mapping"),
    ],
)
async def test_what_can_never_be_a_task_is_refused_before_anything_is_sent(
    inbox: Inbox, connection: asyncpg.Connection, task: Any, words: str
) -> None:
    async with connection.transaction():
        with pytest.raises(InvalidInput, match=words):
            await producer.submit(connection, task)
        good = await producer.submit(connection, JOB)  # the transaction goes on
        with pytest.raises(InvalidInput, match=words) as refused:
            await producer.submit_many(connection, [JOB, task])
        assert refused.value.details["index"] == 1
    assert await inbox.ids() == [good]


async def test_what_an_operator_may_allow_is_left_to_the_door(
    inbox: Inbox, connection: asyncpg.Connection
) -> None:
    await producer.submit(connection, JOB | {"privileged": True})
    assert await inbox.tasks() == [JOB | {"privileged": True}]


async def test_the_queues_limit_of_bytes_holds_here_as_at_the_door(
    inbox: Inbox, connection: asyncpg.Connection
) -> None:
    with pytest.raises(TooLarge, match="queue mail takes 200 at most") as refused:
        await producer.submit(connection, JOB | {"queue": "mail", "env": {"A": "x" * 200}}, most_bytes=200)
    assert refused.value.code == "payload_too_large"
    await producer.submit(connection, JOB | {"queue": "mail"}, most_bytes=200)
    assert len(await inbox.ids()) == 1


async def test_a_key_gives_the_same_task_and_is_the_drivers_error_for_another(
    inbox: Inbox, connection: asyncpg.Connection
) -> None:
    first = await producer.submit(connection, JOB | {"idempotencyKey": "key"})
    assert await producer.submit(connection, JOB | {"idempotencyKey": "key"}) == first
    with pytest.raises(asyncpg.UniqueViolationError):
        await producer.submit(connection, JOB | {"idempotencyKey": "key", "queue": "mail"})


def test_what_is_no_connection_is_told_so() -> None:
    with pytest.raises(PodlingError, match="dict is no connection"):
        producer.submit({}, JOB)  # type: ignore[call-overload]


def test_it_needs_no_driver_but_the_callers() -> None:
    code = "import sys, podling.producer; print({'asyncpg', 'psycopg', 'aiohttp'} & set(sys.modules))"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.strip() == "set()"


async def test_the_example_submits_what_is_committed_and_nothing_else(inbox: Inbox, dsn: str) -> None:
    ended = subprocess.run(
        [sys.executable, EXAMPLE],
        env=os.environ | {"DATABASE_URL": dsn},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert ended.stdout == "no order and no task for a boat\nsend-1 is pending\n"
    assert [task["name"] for task in await inbox.tasks()] == ["send-1"]
