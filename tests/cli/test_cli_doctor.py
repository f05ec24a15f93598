"""`podling doctor`: every master is asked, and the worst decides about the exit code."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from podling.cli.doctor import _untrusted
from tests.cli.conftest import Cli
from tests.cli.fake_master import FakeMaster
from tests.cli.masters import running_master


def answer(master: FakeMaster, master_id: str, *findings: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "masterId": master_id,
        "advertiseUrl": master.url,
        "version": "1.2.3",
        "at": datetime.now(UTC).isoformat(),
        "masters": [{"masterId": master_id, "advertiseUrl": master.url}],
        "findings": list(findings),
    } | more


def finding(severity: str, code: str, **more: Any) -> dict[str, Any]:
    return {
        "severity": severity,
        "code": code,
        "subject": "database",
        "message": "fsync is off",
        "meaning": "it may be torn",
        "remedy": "turn it on",
        "command": None,
    } | more


def found(shown: Any) -> list[tuple[str, str]]:
    return [(item["severity"], item["code"]) for item in json.loads(shown.out)["findings"]]


@pytest.fixture
def second() -> Iterator[FakeMaster]:
    with FakeMaster().running() as fake:
        yield fake


def test_all_is_well(cli: Cli, master: FakeMaster) -> None:
    master.doctor = answer(master, "m1")
    shown = cli("doctor")
    assert (shown.code, shown.out) == (0, "Asked 1 master: all is well.\n")


@pytest.mark.parametrize(("severity", "codes"), [("problem", (1, 1)), ("warning", (0, 1)), ("note", (0, 0))])
def test_the_worst_finding_decides(
    severity: str, codes: tuple[int, int], cli: Cli, master: FakeMaster
) -> None:
    master.doctor = answer(master, "m1", finding(severity, "x", command="psql -c 1"))
    shown = cli("doctor")
    assert (shown.code, cli("doctor", "--strict").code) == codes
    assert shown.out.splitlines() == [
        f"{severity}: database",
        "  fsync is off; it may be torn",
        "  turn it on:",
        "    psql -c 1",
        "",
        f"Asked 1 master: 1 {severity}.",
    ]


def test_every_master_is_asked_about_itself(cli: Cli, master: FakeMaster, second: FakeMaster) -> None:
    both = [
        {"masterId": "m1", "advertiseUrl": master.url},
        {"masterId": "m2", "advertiseUrl": second.url},
        {"masterId": "m3", "advertiseUrl": "http://127.0.0.1:1"},
    ]
    master.doctor = answer(master, "m1", finding("note", "a"), masters=both)
    second.doctor = answer(second, "m2", finding("problem", "b"), finding("note", "a"))
    shown = cli("doctor", "--json")
    assert shown.code == 1
    assert found(shown) == [("problem", "b"), ("warning", "master_unreachable"), ("note", "a")]
    assert [asked["masterId"] for asked in json.loads(shown.out)["masters"]] == ["m1", "m2"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]", "0.0.0.0"])
def test_no_token_goes_to_a_local_address_that_a_master_named(
    host: str, cli: Cli, master: FakeMaster, second: FakeMaster, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("secret-token\n")
    named = second.url.replace("127.0.0.1", host)
    master.doctor = answer(master, "m1", masters=[{"masterId": "m2", "advertiseUrl": named}])
    second.doctor = answer(second, "m2")
    shown = cli("doctor", "--json", "--token-file", str(tmp_path / "token"))
    assert (shown.code, found(shown)) == (0, [("note", "master_not_asked")])
    assert second.requests == []
    drawn = cli("doctor", "--token-file", str(tmp_path / "token")).out
    assert f"podling doctor --master {master.url},{named}" in drawn
    assert max(map(len, drawn.splitlines())) <= 110


def test_the_token_goes_to_the_addresses_that_were_given(
    cli: Cli, master: FakeMaster, second: FakeMaster, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("secret-token\n")
    master.doctor = answer(master, "m1", masters=[{"masterId": "m2", "advertiseUrl": second.url}])
    second.doctor = answer(second, "m2")
    given = f"{master.url},{second.url}"
    shown = cli("--master", given, "doctor", "--json", "--token-file", str(tmp_path / "token"))
    assert found(shown) == []
    assert second.requests[0]["headers"]["Authorization"] == "Bearer secret-token"


@pytest.mark.parametrize(
    ("named", "told_by", "asked"),
    [
        ("http://10.0.0.2:8070", "https://10.0.0.1:8070", False),
        ("https://10.0.0.2:8070", "https://10.0.0.1:8070", True),
        ("http://10.0.0.2:8070", "http://10.0.0.1:8070", True),
        ("https://[::1]:8070", "https://10.0.0.1:8070", False),
        ("https://127.0.0.1:8072", "https://127.0.0.1:8070", True),
        ("https://127.0.0.1:8072", "http://127.0.0.1:8070", False),
        ("http://127.0.0.1:8072", "http://127.0.0.1:8070", False),
    ],
)
def test_no_token_leaves_an_encrypted_cluster_in_clear(named: str, told_by: str, asked: bool) -> None:
    assert (_untrusted(named, told_by) is None) == asked


def test_a_given_address_that_does_not_answer(cli: Cli, master: FakeMaster) -> None:
    master.doctor = answer(master, "m1")
    shown = cli("--master", f"http://127.0.0.1:1,{master.url}", "doctor", "--json")
    assert (shown.code, found(shown)) == (0, [("warning", "master_unreachable")])
    assert cli("--master", "http://127.0.0.1:1", "doctor").code == 5


def test_the_clock_of_this_machine_is_compared(cli: Cli, master: FakeMaster) -> None:
    late = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    master.doctor = answer(master, "m1", at=late)
    [item] = json.loads(cli("doctor", "--json").out)["findings"]
    assert (item["severity"], item["code"], item["subject"]) == ("problem", "clock_skew", "this machine")
    assert item["message"].endswith(f"behind that of master {master.url}")


def test_a_real_master_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_master("postgres") as url:
        shown = Cli(monkeypatch, url)("doctor", "--json")
        assert (shown.code, found(shown)) == (0, []), shown.out + shown.err
