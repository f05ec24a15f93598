"""`podling export` and `podling import` between running masters, and the reference's way by hand."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.masters import running_master

KINDS = ["memory", "postgres"]
FIELDS = ["name", "image", "args", "labels", "priority", "queue", "runAt", "maxAttempts", "delivery", "env"]


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    with running_master("memory") as memory, running_master("postgres") as postgres:
        yield {"memory": memory, "postgres": postgres}


@pytest.fixture(params=[("memory", "postgres"), ("postgres", "memory")], ids="-to-".join)
def there_and_here(
    request: pytest.FixtureRequest, urls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Cli, Cli]]:
    pair = tuple(Cli(monkeypatch, urls[kind]) for kind in request.param)
    yield pair  # type: ignore[misc]
    for cli in pair:
        waiting = [task["taskId"] for task in listed(cli, "--status", "pending")]
        assert not waiting or cli("cancel", *waiting).code == 0


def listed(cli: Cli, *filters: str) -> list[dict[str, Any]]:
    shown = cli("ps", "--all", "--json", *filters)
    assert shown.code == 0, shown.err
    return list(json.loads(shown.out))


def submit_some(cli: Cli) -> None:
    for line in (
        "run plain -i box -- echo hi",
        f"run urgent -i box --priority 7 --label team=ä -e X=1 --queue fast --idempotency-key {token_hex(8)}",
        "run later -i box --run-at 2090-01-02T03:04:05Z --max-attempts 3 --delivery at-most-once",
        "run over -i box",
    ):
        assert cli(*line.split()).code == 0
    assert cli("cancel", "over").code == 0


def seen(tasks: list[dict[str, Any]]) -> list[list[Any]]:
    return sorted([task[name] for name in FIELDS] for task in tasks)


def test_tasks_move_once_with_all_that_they_were_given(
    there_and_here: tuple[Cli, Cli], tmp_path: Path
) -> None:
    there, here = there_and_here
    submit_some(there)
    file = tmp_path / "tasks.jsonl"
    exported = there("export", str(file), "--json")
    assert (exported.code, json.loads(exported.out)["byStatus"]) == (0, {"pending": 3})
    assert file.stat().st_mode & 0o077 == 0
    first = here("import", str(file))
    assert (first.code, first.err) == (0, "")
    assert first.out == "3 tasks are in this cluster now, 0 had ended.\n"
    before = listed(here, "--status", "pending")
    assert seen(before) == seen(listed(there, "--status", "pending"))
    again = here("import", str(file), "--json")
    assert sorted(json.loads(again.out)["taskIds"].values()) == sorted(task["taskId"] for task in before)
    assert listed(here, "--status", "pending") == before


def test_queues_keep_their_limits_and_their_pauses(there_and_here: tuple[Cli, Cli], tmp_path: Path) -> None:
    there, here = there_and_here
    slow, held, own = (f"{name}-{token_hex(4)}" for name in ("slow", "held", "own"))
    there("queue", "set", slow, "--max-in-flight", "2", "--ageing", "5m")
    there("queue", "set", held)
    there("queue", "pause", held)
    there("queue", "set", own, "--weight", "2")
    here("queue", "set", own, "--weight", "3")
    assert there("run", "waits", "-i", "box", "--queue", held).code == 0
    file = tmp_path / "all.jsonl"
    there("export", str(file))
    for _ in range(2):
        moved = here("import", str(file), "--json")
        assert moved.code == 0, moved.err
        told = json.loads(moved.out)
        assert {slow, held} <= {*told["queues"]} and own in told["queuesKept"] and told["accepted"] == 1
        for queue in (slow, held):
            assert here("queue", "show", queue).out == there("queue", "show", queue).out
        assert "weight 3" in here("queue", "show", own).out
    late = tmp_path / "late.jsonl"
    late.write_text("".join(reversed(file.read_text().splitlines(keepends=True))))
    assert f"refused: {slow}: it comes after tasks" in here("import", str(late)).out
    for cli in there_and_here:
        for queue in (slow, held, own):
            assert (
                cli("queue", "set", queue, *"--max-in-flight off --ageing off --weight off".split()).code == 0
            )
            assert cli("queue", "resume", queue).out == f"queue {queue}: 0 running, no limits\n"


def test_schedules_go_on_in_the_other_cluster(there_and_here: tuple[Cli, Cli], tmp_path: Path) -> None:
    there, here = there_and_here
    name, other = f"nightly-{token_hex(4)}", f"other-{token_hex(4)}"
    for cron, each in (("0 3 * * *", name), ("0 4 * * *", other)):
        there(
            "cron",
            "add",
            cron,
            "-i",
            "box",
            "--name",
            each,
            "--catch-up",
            "all",
            "--time-zone",
            "Europe/Berlin",
        )
    here("cron", "add", "0 5 * * *", "-i", "box", "--name", other)
    file = tmp_path / "all.jsonl"
    assert there("export", str(file)).code == 0
    for _ in range(2):
        told = json.loads(here("import", str(file), "--pause-schedules", "--json").out)
        assert name in told["schedules"] and other in told["schedulesKept"]
    old, new = (json.loads(cli("cron", "show", name, "--json").out) for cli in (there, here))
    assert (new["paused"], new["nextFires"], new["fires"]) == (True, [], [])
    same = ("cron", "timeZone", "catchUp", "maxCatchUp", "overlap", "task")
    assert [new[key] for key in same] == [old[key] for key in same]
    assert "0 5 * * *" in here("cron", "show", other).out
    for cli in there_and_here:
        for each in (name, other):
            cli("cron", "remove", each)


def test_an_import_that_broke_off_is_taken_up_again(there_and_here: tuple[Cli, Cli], tmp_path: Path) -> None:
    there, here = there_and_here
    submit_some(there)
    file = tmp_path / "tasks.jsonl"
    assert there("export", str(file)).code == 0
    [line, *_] = file.read_text().splitlines()
    many = [json.dumps(json.loads(line) | {"taskId": f"old-{n}", "idempotencyKey": None}) for n in range(450)]
    file.write_text("\n".join([*many[:420], '{"torn', *many[420:]]))
    broken = here("import", str(file))
    assert (broken.code, broken.err.startswith("podling: line 421 is not JSON")) == (2, True)
    assert len(listed(here, "--status", "pending")) == 400
    file.write_text("\n".join(many))
    assert here("import", str(file)).code == 0
    assert len(listed(here, "--status", "pending")) == 450


def test_history_is_exported_and_not_run_again(there_and_here: tuple[Cli, Cli], tmp_path: Path) -> None:
    there, here = there_and_here
    assert there("run", "over", "-i", "box").code == 0
    assert there("cancel", "over").code == 0
    file = tmp_path / "tasks.jsonl"
    assert there("export", str(file), "--all").code == 0
    assert "over" in [json.loads(line)["name"] for line in file.read_text().splitlines()]
    assert json.loads(here("import", str(file), "--json").out)["accepted"] == 0


def test_what_cannot_be_taken_is_named(there_and_here: tuple[Cli, Cli], tmp_path: Path) -> None:
    _, here = there_and_here
    file = tmp_path / "tasks.jsonl"
    items = [
        {"taskId": "a", "name": "host", "image": "box", "network": "host", "status": "pending"},
        {"taskId": "b", "name": "once", "image": "box", "delivery": "at_most_once", "status": "running"},
        {"taskId": "c", "name": "well", "image": "box", "status": "running"},
    ]
    file.write_text("\n".join(map(json.dumps, items)))
    shown = here("import", str(file))
    assert shown.code == 1
    first, left_out, refused = shown.out.splitlines()
    assert first.startswith("1 tasks are in this cluster now")
    assert left_out.startswith("  left out: b ")
    assert refused.startswith("  refused: a: ")
    file.write_text(json.dumps({"name": "nobody", "image": "box"}))
    assert "could become two tasks" in here("import", str(file)).err


def http(method: str, url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=10) as answer:
        return json.load(answer)


def test_what_a_list_gave_can_be_posted_again(there_and_here: tuple[Cli, Cli], tmp_path: Path) -> None:
    """As the reference's guide says: `curl …/tasks > tasks.json`, then each to `POST /tasks`."""
    there, here = there_and_here
    submit_some(there)
    file = tmp_path / "tasks.json"
    file.write_text(json.dumps(http("GET", f"{there.url}/api/v1/tasks?status=pending")))
    posted = [http("POST", f"{here.url}/api/v1/tasks", task) for task in json.loads(file.read_text())]
    assert {task["status"] for task in posted} == {"pending"}
    assert seen(listed(here, "--status", "pending")) == seen(listed(there, "--status", "pending"))
    assert here("import", str(file)).code == 0  # the command reads such a list too


def test_an_older_export_is_replaced_only_by_force(there_and_here: tuple[Cli, Cli], tmp_path: Path) -> None:
    cli, _ = there_and_here
    file = tmp_path / "tasks.jsonl"
    file.write_text("the export of yesterday")
    refused = cli("export", str(file))
    assert (refused.code, f"{file} is there already" in refused.err) == (2, True)
    assert file.read_text() == "the export of yesterday"
    assert cli("export", str(file), "--force").code == 0
    assert file.read_text() == ""
