"""`podling cron`, against the real master."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from podling.cli.run import run
from podling.cli.specification import Wishes
from tests.cli.conftest import Cli
from tests.cli.masters import running_master


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_master("memory", "--alert-command", "page=/bin/echo paged") as address:
        yield address


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, url: str) -> Cli:
    return Cli(monkeypatch, url)


def shown(cli: Cli, name: str) -> dict[str, Any]:
    return dict(json.loads(cli("cron", "show", name, "--json").out))


def test_a_schedule_from_add_to_remove(cli: Cli) -> None:
    assert cli("alert", "create", "ops", "command:page", "--named-only").code == 0
    line = "cron add '0 3 * * *' -i registry.test/team/backup:1 --alert ops -e A=1 --memory 64Mi"
    made = cli("cron", "add", "0 3 * * *", *line.split("'")[2].split(), "--", "--all", "/data")
    assert made.code == 0, made.err
    assert made.out.startswith("schedule backup fires in ") and "03:00:00 UTC)" in made.out
    schedule = shown(cli, "backup")
    assert (schedule["cron"], schedule["timeZone"]) == ("0 3 * * *", "UTC")
    task = schedule["task"]
    assert (task["image"], task["args"], task["env"]) == (
        "registry.test/team/backup:1",
        ["--all", "/data"],
        {"A": "1"},
    )
    assert task["alerts"][0]["rule"] == "ops" and task["resources"]["limits"]["memory"] == 64 * 2**20
    assert "backup  0 3 * * *  UTC" in " ".join(cli("cron", "list").out.split("\n"))
    assert cli("cron", "pause", "backup").out == "schedule backup is paused\n"
    assert "paused" in cli("cron", "list").out
    assert cli("cron", "resume", "backup").out.startswith("schedule backup fires in ")
    ran = cli("cron", "run", "backup", "-e", "B=2", "--", "one")
    fires = cli("cron", "fires", "backup").out
    assert ran.out.strip() in fires and "run by hand" in fires
    text = cli("cron", "show", "backup").out
    assert "runs      registry.test/team/backup:1 --all /data" in text and "overlap   allow" in text
    assert cli("cron", "remove", "backup").out == "schedule backup is removed\n"
    assert cli("cron", "show", "backup").code == 3


def test_every_way_to_say_it(cli: Cli) -> None:
    line = "--name n --overlap replace --catch-up all --max-catch-up 7 --jitter 5m --paused"
    made = cli(
        "cron", "add", "*/10 * * * * *", "box", *line.split(), "--time-zone", "Asia/Tokyo", "echo", "hi"
    )
    assert made.code == 0, made.err
    assert made.out == "schedule n fires when it is resumed\n"
    schedule = shown(cli, "n")
    wanted = {"overlap": "replace", "catchUp": "all", "maxCatchUp": 7, "jitterSeconds": 300, "paused": True}
    assert wanted.items() <= schedule.items() and schedule["task"]["args"] == ["echo", "hi"]
    again = cli("cron", "add", "@daily", "box", "--name", "n")
    assert again.code == 4 and "there is a schedule n already" in again.err


def test_what_cannot_be_is_refused_with_a_sentence(cli: Cli) -> None:
    for arguments, words in (
        (["0 0 30 2 *", "box"], "day-of-month"),
        (["@daily", "box", "--time-zone", "Mars"], "no known time zone"),
        (["@daily"], "say which image"),
        (["@daily", "box", "--jitter", "soon"], "is not a duration"),
    ):
        refused = cli("cron", "add", *arguments)
        assert refused.code == 2 and words in refused.err, refused.err
    assert "7 fields" in cli("cron", "next", "* * * * * * *").err


def test_every_flag_of_a_task_is_there(cli: Cli) -> None:
    text = cli("cron", "add", "--help").out
    flags = Wishes.__dataclass_fields__.keys() - {
        "name",
        "words",
        "run_at",
        "idempotency_key",
        "after",
        "image",
        "env",
    }
    assert all(f"--{name.replace('_', '-')} " in text for name in flags if name != "port")
    assert "--run-at" not in text and run.__doc__


def test_next_needs_no_master(monkeypatch: pytest.MonkeyPatch) -> None:
    cli = Cli(monkeypatch, "http://127.0.0.1:9")
    lines = cli("cron", "next", "30 2 * * *", "--time-zone", "Europe/Berlin", "-n", "3").out.splitlines()
    assert len(lines) == 3 and all(line.startswith("in ") and "Europe/Berlin" in line for line in lines)
    times = json.loads(cli("cron", "next", "@every 30s", "--json").out)
    assert len(times) == 5 and all(time.endswith("Z") for time in times)


CRONTAB = """\
SHELL=/bin/bash
LANG=C.UTF-8
0 4 * * * /usr/local/bin/rotate --keep 7
@reboot /usr/local/bin/warm-up
*/5 * * * * curl -fsS http://localhost/ping
"""


def test_a_crontab_is_taken_over_line_by_line(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "crontab"
    file.write_text(CRONTAB)
    tried = cli("cron", "import", str(file), "--time-zone", "Europe/Berlin", "--dry-run")
    assert tried.code == 1 and "would be schedule rotate, first in " in tried.out
    assert cli("cron", "show", "rotate").code == 3
    taken = cli("cron", "import", str(file), "--time-zone", "Europe/Berlin")
    lines = taken.out.splitlines()
    assert taken.code == 1 and len(lines) == 10
    assert lines[4:8] == [
        "line 3: 0 4 * * * /usr/local/bin/rotate --keep 7",
        lines[5],
        "line 4: @reboot /usr/local/bin/warm-up",
        lines[7],
    ]
    assert lines[5].startswith("    is schedule rotate, first in ") and lines[7].startswith(
        "    left out: @reboot"
    )
    schedule = shown(cli, "rotate")
    task = schedule["task"]
    assert (schedule["timeZone"], task["runtime"], task["env"]) == (
        "Europe/Berlin",
        "process",
        {"LANG": "C.UTF-8"},
    )
    assert task["command"] == ["/bin/bash", "-c", "/usr/local/bin/rotate --keep 7"]
    assert "is there already" in cli("cron", "import", str(file), "--time-zone", "UTC").out


def test_schedules_move_between_clusters(cli: Cli, tmp_path: Path) -> None:
    assert cli("cron", "add", "@daily", "box", "--name", "moved", "--overlap", "skip", "--paused").code == 0
    before, file = shown(cli, "moved"), tmp_path / "schedules.json"
    listed = [one for one in json.loads(cli("cron", "list", "--json").out) if one["name"] == "moved"]
    file.write_text(json.dumps(listed))
    assert "is there already" in cli("cron", "import", str(file)).out
    assert cli("cron", "remove", "moved").code == 0
    taken = cli("cron", "import", str(file))
    assert taken.code == 0 and "is schedule moved, first in " in taken.out
    after = shown(cli, "moved")
    assert all(after[name] == before[name] for name in ("cron", "overlap", "paused", "task"))
    file.write_text("[1]")
    assert cli("cron", "import", str(file)).code == 2


def test_a_system_crontab_in_an_image_leaves_its_users_out(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "crontab"
    file.write_text("MAILTO=me@example.org\n17 * * * * root /opt/report\n")
    told = json.loads(
        cli("cron", "import", str(file), "--system", "-i", "box", "--time-zone", "UTC", "--json").out
    )
    assert [line["leftOut"] for line in told] == [False, True]  # this master cannot send mail
    assert "--smtp-url" in told[1]["message"]
    file.write_text("17 * * * * root /opt/report\n")
    taken = cli("cron", "import", str(file), "--system", "-i", "box", "--time-zone", "UTC")
    assert taken.code == 0 and "the user root is left out" in taken.out
    assert shown(cli, "report")["task"]["image"] == "box"
    assert cli("cron", "import", str(tmp_path / "nothing")).code == 2
