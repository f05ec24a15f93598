"""What the worker's own API is asked that it cannot mean: refused as a master refuses it."""

from pathlib import Path

import pytest

from tests.master.bad_input.http_rows import REFUSED_HTTP
from tests.master.bad_input.rows import check, head, row, send
from tests.worker.conftest import running_worker
from tests.worker.memory_runtime import MemoryRuntime
from tests.worker.small_master import SmallMaster

ROWS = [
    *REFUSED_HTTP,
    row("a wrong method", head("POST", "/health"), 405, "method_not_allowed"),
    row("a wrong method for logs", head("DELETE", "/api/v1/tasks/x/logs"), 405, "method_not_allowed"),
    row("no path", head("GET", "/nothing"), 404, "no_such_path"),
    row("a master's path", head("GET", "/api/v1/nodes"), 421, "not_a_master"),
    *[
        row(
            f"tail={tail}",
            head("GET", f"/api/v1/tasks/x/logs?tail={tail}"),
            400,
            "invalid_field",
            field="tail",
        )
        for tail in ("-1", "1e9", "9" * 400, "all")
    ],
    *[
        row(f"{path} with a query", head("GET", f"{path}?x=1"), 400, "unknown_field", field="x")
        for path in ("/metrics", "/api/v1/tasks/x/status", "/api/v1/pods/x/logs")
    ],
    *[
        row(f"no task {id_}", head("GET", f"/api/v1/tasks/{id_}/logs"), 404, "task_not_found")
        for id_ in ("x", "%00", "..%2f..%2fetc%2fpasswd", "%2e%2e", "'%20OR%201=1")
    ],
]


async def test_each_is_refused_and_nothing_is_logged(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_worker(tmp_path, runtime, master.url):
        await master.until("the worker is connected", lambda: master.beats)
        for each in ROWS:
            answer = await send(master.hellos[-1].port, each.request)
            try:
                check(answer, each)
            except AssertionError as error:
                raise AssertionError(f"{each.name}: {error}") from None
    assert not [line for line in caplog.records if line.levelname == "ERROR" or line.exc_info]
