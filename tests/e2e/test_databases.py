"""One master program over two databases: two clusters that know nothing of each other."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from podling.client import Client, nodes, queues, tasks
from podling.core.errors import PodlingError
from tests.e2e.cluster import ROOT, Cluster
from tests.e2e.programs import until

pytestmark = [pytest.mark.xdist_group("databases"), pytest.mark.timeout(180)]


class Two(Cluster):
    """`shop` and `lab`, behind their names at one master's address."""

    def start_two(self) -> None:
        listed = [
            {"name": "shop", "url": f"embedded:{self.directory / 'shop'}", "queue_count": 2},
            {"name": "lab", "url": f"embedded:{self.directory / 'lab'}", "queue_count": 0},
        ]
        config = self.directory / "broker.yaml"
        config.write_text(json.dumps({"lease-seconds": 6, "databases": listed}))
        self.start("master", "master", "--config", str(config))
        until("both answer", lambda: self.of("shop") and self.of("lab"))

    def url(self, name: str) -> str:
        database, slash, _ = name.partition("/")
        return super().url("master") + (f"/{database}" if slash else "")

    def of(self, database: str) -> Mapping[str, Any]:
        return self.overview(f"{database}/")

    def _environment(self) -> dict[str, str]:
        set_elsewhere = ("PODLING_", "STORE_TYPE", "DATABASE_")
        return {name: text for name, text in os.environ.items() if not name.startswith(set_elsewhere)}


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    directory = Path(tempfile.mkdtemp(prefix="podling-databases-"))
    directory.chmod(0o755)
    running = Two(directory, 6.0)
    try:
        running.start_two()
        running.start_worker("shop-worker", "shop/")
        running.start_worker("lab-worker", "lab/")
        yield running
    finally:
        running.stop()
        shutil.rmtree(directory, ignore_errors=True)


def names_of(client: Client) -> set[str]:
    return {str(queue["name"]) for queue in client.list_all(queues.listing)}


def test_each_is_a_cluster_of_its_own_with_its_nodes_leader_and_queues(two: Two) -> None:
    shop, lab = two.of("shop"), two.of("lab")
    assert shop["clusterId"] != lab["clusterId"]
    for name, told in (("shop", shop), ("lab", lab)):
        (master,) = told["masters"]
        assert (master["leader"], master["advertiseUrl"]) == (True, two.url(f"{name}/"))
        (node,) = two.client(f"{name}/").list_all(nodes.listing)
        assert node["hostname"] == f"{name}-worker"
    assert two.overview("root")["clusterId"] == shop["clusterId"], "the first is at the root too"
    assert {"1", "2"} <= names_of(two.client("shop/"))
    assert not {"1", "2"} & names_of(two.client("lab/"))


def test_the_log_says_which_of_them_a_line_is_of(two: Two) -> None:
    lines = two.log("master").splitlines()
    for event in ("this master leads", "is online"):
        of = {line.rpartition(" database=")[2] for line in lines if event in line}
        assert of == {"shop", "lab"}, f"begun with the master, or asked for by a worker: {event}"


def test_a_task_runs_where_it_was_submitted_and_is_unknown_elsewhere(two: Two) -> None:
    task_id = two.run_process("lab/", "echo from the lab")
    assert two.until_status(task_id, "completed", "lab/")["exitCode"] == 0
    with pytest.raises(PodlingError) as caught:
        two.task(task_id, "shop/")
    assert caught.value.code == "task_not_found"
    logs = two.command("logs", task_id, masters=["lab/"])
    assert logs.communicate(timeout=30)[0] == b"from the lab\n"


def test_lines_are_followed_while_they_are_written(two: Two) -> None:
    task_id = two.run_process("lab/", "echo first; sleep 60")
    follow = two.command("logs", task_id, "--follow", masters=["lab/"])
    assert follow.stdout is not None
    assert follow.stdout.readline() == b"first\n"
    two.client("lab/").send(tasks.cancel(task_id))
    follow.communicate(timeout=30)
    assert two.task(task_id, "lab/")["status"] == "cancelled"


async def test_the_next_page_and_the_documentation_stay_behind_the_name(two: Two) -> None:
    for _ in range(2):
        two.run_process("lab/", "true")
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{two.url('lab/')}/api/v1/tasks?limit=1") as answer:
            (first,), target = await answer.json(), URL(answer.links["next"]["url"]).path_qs
        assert target.startswith("/lab/api/v1/tasks?")
        async with session.get(two.url("root") + target) as answer:
            (second,) = await answer.json()
        assert first["taskId"] != second["taskId"]
        async with session.get(f"{two.url('lab/')}/docs") as answer:
            assert f"{two.url('lab/')}/api/v1" in await answer.text()
        async with session.get(f"{two.url('root')}/labour/api/v1/tasks") as answer:
            assert answer.status == 404


def test_a_database_that_dies_takes_no_other_with_it(two: Two) -> None:
    (started,) = (two.directory / "lab").rglob("postmaster.pid")
    os.kill(int(started.read_text().splitlines()[0]), signal.SIGKILL)
    task_id = two.run_process("shop/", "true")
    two.until_status(task_id, "completed", "shop/")
    again = until("the embedded database is brought back", lambda: two.run_process("lab/", "true"))
    two.until_status(again, "completed", "lab/")


def test_a_stop_signs_off_from_both(two: Two) -> None:
    """The last test: afterwards the masters are started anew, and know none but themselves."""
    before = {str(two.of(name)["masters"][0]["masterId"]) for name in ("shop", "lab")}
    assert two.terminate("master").wait(timeout=60) == 0
    two.start_two()
    for name in ("shop", "lab"):
        (master,) = two.of(name)["masters"]
        assert master["masterId"] not in before
    task_id = two.run_process("lab/", "true")
    two.until_status(task_id, "completed", "lab/")


def test_the_example_of_a_program_with_its_own_master_runs() -> None:
    with tempfile.TemporaryDirectory(prefix="podling-own-") as directory:
        ended = subprocess.run(
            [sys.executable, str(ROOT / "examples" / "own_program.py"), directory],
            env={name: text for name, text in os.environ.items() if not name.startswith("PODLING_")},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert (ended.stdout, ended.returncode) == ("from my own program\ncompleted\n", 0), ended.stderr
