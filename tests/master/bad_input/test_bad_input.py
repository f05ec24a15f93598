"""Every bad input is refused: a typed 4xx of the one shape, in time, and nothing in the master's log."""

import re

import pytest

from tests.master.bad_input import field_rows, http_rows, json_rows, query_rows
from tests.master.bad_input.field_rows import DENIED, SUBMIT
from tests.master.bad_input.rows import Row, check, send
from tests.master.masters import RunningMaster, task_body

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROWS = [*http_rows.ROWS, *json_rows.ROWS, *field_rows.ROWS, *query_rows.ROWS]


def _port(master: RunningMaster) -> int:
    return int(master.url.rpartition(":")[2])


def _id(row: Row) -> str:
    return re.sub(r"[^ -~]|[\[\]:]", "_", row.name)


async def test_the_table_is_long_enough() -> None:
    assert len(ROWS) >= 200
    assert len({row.request for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=_id)
async def test_it_is_refused(
    shared_master: RunningMaster, row: Row, caplog: pytest.LogCaptureFixture
) -> None:
    check(await send(_port(shared_master), row.request), row)
    assert not [line for line in caplog.records if line.levelname == "ERROR" or line.exc_info]


async def test_nothing_of_it_was_stored(shared_master: RunningMaster) -> None:
    assert (await shared_master.api.get("/tasks")).json == []
    assert (await shared_master.api.get("/nodes")).json == []


async def test_a_batch_refuses_the_same_by_item(shared_master: RunningMaster) -> None:
    rows = [row for row in SUBMIT + DENIED if "\\u0000" not in ascii(row) and "\\x00" not in ascii(row)]
    bodies = [task_body(**{field: bad}) for field, bad, _ in rows]
    answer = await shared_master.api.post("/tasks:batch", {"tasks": bodies})
    assert answer.status == 200, answer.text
    assert [item["details"]["field"] for item in answer.json] == [named for _, _, named in rows]


async def test_what_is_unusual_and_right_is_accepted(shared_master: RunningMaster) -> None:
    for fields in (
        {"name": "x" * 253},
        {"name": "日本 <b>'; DROP TABLE tasks; --"},
        {"image": "registry.test:5000/a/b__c:v1.2@sha256:" + "0" * 64},
        {"args": ["line\nline", "\\u0000 as text", "\u202e", ""]},
        {"env": {"A": "x" * 100_000, "lower.case-name": ""}},
        {"priority": 2**31 - 1},
        {"priority": -(2**31)},
        {"runAt": "1970-01-01T00:00:00Z"},
        {"runAt": "9999-12-31T23:59:59Z"},
        {"timeoutSeconds": 0.001, "deadlineSeconds": 315_000_000},
        {"resources": {"requests": {"cpu": 1, "memory": "6Mi", "gpu": 2}}},
        {"maxAttempts": 1000, "maxLosses": 0},
        {"onLost": "hold", "onDisconnect": "keep"},
        {"idempotencyKey": "x" * 255},
    ):
        task = await shared_master.api.submit(**fields)
        read = await shared_master.api.task(task["taskId"])
        assert all(read[key] == task[key] for key in fields)
        await shared_master.api.post(f"/tasks/{task['taskId']}/cancel")
