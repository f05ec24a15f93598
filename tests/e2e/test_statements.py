"""Statements on real workers: placed by database, run once, ended, cancelled, killed with their worker."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import asyncpg
import pytest

from podling.client import nodes, tasks
from podling.core.agent_restore import LEFT_SENTENCE
from tests.conftest import ServerOf
from tests.e2e.programs import ROOT, Programs, programs, until
from tests.postgres_servers import chosen_servers

CONNECTIONS = 3


class Shop:
    """The programs, and the database that is no business of theirs but for statements."""

    def __init__(self, running: Programs, store: str, dsn: str) -> None:
        self.running = running
        self.store = store
        self.dsn = dsn

    def ask(self, statement: str) -> Any:
        """Ask the database without Podling."""

        async def fetch() -> Any:
            connection = await asyncpg.connect(self.dsn)
            try:
                return await connection.fetchval(statement)
            finally:
                await connection.close()

        return asyncio.run(fetch())

    def submit(self, statement: str, *parameters: Any, **more: Any) -> str:
        spec = {"name": "s", "runtime": "sql", "statement": statement, "database": "shop", **more}
        return str(self.running.client.submit(spec | {"parameters": list(parameters)})["taskId"])

    def end(self, statement: str, *parameters: Any, **more: Any) -> dict[str, Any]:
        task_id = self.submit(statement, *parameters, **more)
        return dict(self.running.client.wait(task_id, timeout_seconds=60))

    def podling(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Type a command."""
        code = "from podling.boot.cli import main; raise SystemExit(main())"
        environment = os.environ | {"PODLING_MASTER_URL": self.running.master_url, "NO_COLOR": "1"}
        command = [sys.executable, "-c", code, *words]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def until_active(self, mark: str, count: int) -> None:
        active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE"
        until(f"{count} of {mark} run", lambda: self.ask(f"{active} '%/*{mark}*/'") == count)


@pytest.fixture(scope="module", params=["memory", "postgres"])
def shop(request: pytest.FixtureRequest, server_of: ServerOf) -> Iterator[Shop]:
    database = server_of(chosen_servers()[0]).empty_database()
    with asyncio.Runner() as runner, ExitStack() as stack:
        dsn = runner.run(database.__aenter__())
        stack.callback(lambda: runner.run(database.__aexit__(None, None, None)))
        started: Programs = stack.enter_context(programs(request.param, lease_seconds=30.0))
        flags = ("--runtime", "sql", "--database", f"shop={dsn}")
        started.start_master()
        started.start_worker("worker", *flags, "--database-connections", str(CONNECTIONS))
        started.wait_for_workers(1)
        yield Shop(started, request.param, dsn)


def test_a_statement_runs_by_the_command(shop: Shop) -> None:
    words = ("--statement", "SELECT $1::int + 1 AS next, $2::text AS said", "--database", "shop")
    done = shop.podling("run", "add", *words, "--parameter", "41", "--parameter", "ü", "--follow")
    assert (done.returncode, done.stdout) == (0, '{"next":42,"said":"ü"}\n'), done
    (listed,) = json.loads(shop.podling("ps", "--json", "--all").stdout)
    assert (listed["runtime"], listed["database"], listed["parameters"]) == ("sql", "shop", [41, "ü"])
    assert (listed["status"], listed["exitCode"], listed["maxAttempts"]) == ("completed", 0, 1)
    assert "SELECT $1::int + 1 AS next, $…" in shop.podling("ps", "--all").stdout


def test_what_came_of_it_is_its_result_also_for_who_waits_for_it(shop: Shop) -> None:
    parent = shop.end("SELECT 1 AS one, 'ü' AS said")
    assert (parent["status"], parent["result"]) == (
        "completed",
        {"rowCount": 1, "rows": [{"one": 1, "said": "ü"}]},
    )
    child = shop.submit("CREATE TEMP TABLE t ()", dependsOn=[{"taskId": parent["taskId"]}])
    (left,) = shop.running.client.task(child).parents()
    assert left["result"] == parent["result"]
    assert shop.running.client.wait(child, timeout_seconds=60)["result"] == {"rowCount": None}


def test_the_databases_are_resources_of_the_node_and_their_addresses_are_nowhere(shop: Shop) -> None:
    (node,) = shop.running.client.list_all(nodes.listing)
    assert node["resources"]["allocatable"]["database/shop"] == CONNECTIONS
    assert node["runtimes"] == ["sql"]
    assert "postgres://" not in json.dumps(node)


def test_a_database_that_nobody_has_is_explained(shop: Shop) -> None:
    task_id = shop.submit("SELECT 1", database="stock")
    until(
        "nothing else is in the way",  # its runtime may just have lost what another test ended
        lambda: "database stock missing" in str(shop.running.task(task_id)["schedulingError"]),
    )
    told = shop.running.client.send(tasks.explain(task_id))
    assert told["reasons"][0]["code"] == "database_missing"
    assert told["nodes"][0]["lacks"] == ["it has no database stock"]
    assert told["advice"].endswith("start a worker with --runtime sql --database stock=URL.")
    shop.podling("cancel", task_id)


def test_no_more_run_at_a_time_than_there_are_connections(shop: Shop) -> None:
    shop.end("CREATE TABLE IF NOT EXISTS runs (began timestamptz, ended timestamptz)")
    statement = (
        "WITH slept AS MATERIALIZED (SELECT clock_timestamp() AS began, pg_sleep(0.05))"
        " INSERT INTO runs SELECT began, clock_timestamp() FROM slept"
    )
    spec = {"name": "bounded", "runtime": "sql", "statement": statement, "database": "shop"}
    handles = shop.running.client.submit_many([spec] * 12)
    ends = [handle.wait(timeout_seconds=60)["status"] for handle in handles]  # type: ignore[union-attr]
    assert set(ends) == {"completed"}
    overlap = (
        "SELECT max((SELECT count(*) FROM runs o WHERE o.began <= r.began AND o.ended > r.began)) FROM runs r"
    )
    assert (shop.ask("SELECT count(*) FROM runs"), shop.ask(overlap) <= CONNECTIONS) == (12, True)


def test_the_example_runs_as_it_is_in_the_documents(shop: Shop) -> None:
    spec = json.loads((ROOT / "examples" / "statement.json").read_text())
    task: dict[str, Any] = dict(shop.running.client.submit(spec))
    assert shop.running.client.wait(task["taskId"], timeout_seconds=60)["status"] == "completed"
    output = shop.podling("logs", task["taskId"]).stdout
    assert [json.loads(line)["day"] for line in output.splitlines()] == ["2026-11-26", "2026-11-27"]


def test_what_is_wrong_is_told_and_not_tried_again(shop: Shop) -> None:
    task = shop.end("SELEC 1", maxAttempts=3)
    assert (task["status"], task["errorCode"], task["exitCode"]) == ("failed", "BAD_STATEMENT", None)
    assert (task["deadLetterReason"], task["attempt"]) == ("NON_RETRYABLE", 1)
    assert 'syntax error at or near "SELEC"' in task["error"]
    assert "ERROR:  syntax error" in shop.podling("logs", task["taskId"]).stdout
    timed_out = shop.end("SELECT pg_sleep(60)", timeoutSeconds=0.3)
    assert (timed_out["errorCode"], timed_out["exitCode"]) == ("TIMEOUT", None)


def test_what_met_another_one_is_tried_again(shop: Shop) -> None:
    shop.end("CREATE SEQUENCE IF NOT EXISTS tries")
    statement = (
        "DO $$ BEGIN IF nextval('tries') < 3 THEN"
        " RAISE EXCEPTION 'met' USING ERRCODE = 'serialization_failure'; END IF; END $$"
    )
    task = shop.end(statement, maxAttempts=5, retry={"baseSeconds": 0.01})
    assert (task["status"], task["attempt"]) == ("completed", 3)
    codes = [one["errorCode"] for one in shop.running.attempts(task["taskId"])]
    assert codes == ["SERIALIZATION", "SERIALIZATION", None]


def test_a_cancel_ends_it_at_the_server(shop: Shop) -> None:
    task_id = shop.submit("SELECT pg_sleep(60) /*cancelled*/")
    shop.until_active("cancelled", 1)
    shop.podling("cancel", task_id)
    assert shop.running.client.wait(task_id, timeout_seconds=60)["status"] == "cancelled"
    shop.until_active("cancelled", 0)


@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
def test_a_worker_that_is_killed_leaves_nothing_half_done_and_tells_so(shop: Shop, delivery: str) -> None:
    shop.end("CREATE TABLE IF NOT EXISTS marks (delivery text)")
    statement = "WITH one AS (INSERT INTO marks VALUES ($1)) SELECT pg_sleep($2) /*killed*/"
    task_id = shop.submit(statement, delivery, 1.5, delivery=delivery, retry={"baseSeconds": 0.01})
    shop.until_active("killed", 1)
    shop.running.kill("worker")
    shop.running.start_worker("worker")
    task = dict(shop.running.client.wait(task_id, timeout_seconds=60))
    first = shop.running.attempts(task_id)[0]
    assert (first["errorCode"], first["exitCode"], first["error"]) == ("EXTERNAL", None, LEFT_SENTENCE)
    again = delivery == "at_least_once"
    assert (task["status"], task["attempt"]) == (("completed", 2) if again else ("failed", 1))
    assert shop.ask(f"SELECT count(*) FROM marks WHERE delivery = '{delivery}'") == again


def test_only_podlings_own_database_knows_what_its_worker_could_not_tell(shop: Shop) -> None:
    """Killed between the commit and its report: there the end was committed too, elsewhere it runs again."""
    is_home = shop.store == "postgres"
    where = {"database": None if is_home else "shop"}
    assert shop.end("CREATE TABLE told (id int)", **where)["status"] == "completed"
    statement = "WITH one AS (INSERT INTO told VALUES (1)) SELECT pg_sleep(1)"
    task_id = shop.submit(statement, retry={"baseSeconds": 0.01}, **where)
    shop.running.until_status(task_id, "running")
    shop.running.pause("worker")  # the statement goes on, in a process of its own
    if is_home:
        task = shop.running.until_status(task_id, "completed")
        assert (task["attempt"], task["exitCode"]) == (1, 0)
    else:
        until("it is committed", lambda: shop.ask("SELECT count(*) FROM told") == 1)
    shop.running.kill("worker")
    shop.running.start_worker("worker")
    shop.running.until_status(task_id, "completed")
    codes = [one["errorCode"] for one in shop.running.attempts(task_id)]
    assert codes == ([None] if is_home else ["EXTERNAL", None])
    counted = shop.end("SELECT count(*) AS count FROM told", **where)["taskId"]
    assert json.loads(shop.podling("logs", counted).stdout) == {"count": len(codes)}


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--runtime", "sql"), "--runtime sql needs --database NAME=URL, or DATABASE_URL"),
        (("--runtime", "sql", "--database", "shop=file:secret"), "write postgres://USER:PASSWORD@HOST"),
    ],
)
def test_a_start_without_a_database_is_told(shop: Shop, flags: tuple[str, ...], sentence: str) -> None:
    code = "from podling.boot.worker import main; raise SystemExit(main())"
    command = [sys.executable, "-c", code, "--port", "0", "--data-dir", str(shop.running.directory / "x")]
    environment = {name: text for name, text in os.environ.items() if name != "DATABASE_URL"}
    tried = subprocess.run(
        [*command, *flags], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env=environment
    )
    assert tried.returncode == 1
    assert sentence in tried.stderr
    assert "secret" not in tried.stderr
