"""`podling token create --join` and `podling node revoke` against a real master, with TLS and without."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from podling.kit.tls import fingerprint_of
from tests.cli.conftest import Cli
from tests.cli.masters import running_master

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Place:
    url: str
    fingerprint: str | None


@pytest.fixture(scope="module", params=["http", "https"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("master")
    (folder / "token").write_text("a-token-for-the-master-and-its-admin")
    flags = ["--token-file", str(folder / "token")]
    tls = ["--tls-self-signed", "--data-dir", str(folder / "data")] if request.param == "https" else []
    with running_master("memory", *flags, *tls) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PODLING_TOKEN_FILE", str(folder / "token"))
        if not tls:
            yield Place(url, None)
            return
        patch.setenv("PODLING_TLS_CA", str(folder / "data/tls/ca.pem"))
        yield Place(url, fingerprint_of((folder / "data/tls/ca.pem").read_text()))


@pytest.fixture
def cli(place: Place, monkeypatch: pytest.MonkeyPatch) -> Cli:
    return Cli(monkeypatch, place.url)


def test_the_whole_command_is_printed(cli: Cli, place: Place) -> None:
    made = cli("token", "create", "second", "--join")
    assert made.code == 0, made.err
    found = re.fullmatch(
        r"podling-worker --join (podling_join_[0-9a-f]{64})(?:\.(\w+))? --master-url (\S+)\n", made.out
    )
    assert found is not None, made.out
    assert (found[2], found[3]) == (place.fingerprint, place.url)
    assert "leads to a master on its own machine alone" in made.err  # it listens on loopback
    (listed,) = json.loads(cli("token", "list", "--json").out)
    assert (listed["kind"], listed["uses"], listed["nodeId"]) == ("join", 1, None)


def test_who_works_in_a_clone_is_told_how_it_is_called_there(cli: Cli) -> None:
    command = [str(ROOT / "bin/podling"), "--master", cli.url, "token", "create", "third", "--join"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert made.stdout.startswith("bin/podling-worker --join podling_join_")


def test_what_is_asked_for_is_in_the_token(cli: Cli) -> None:
    flags = ["--uses", "20", "--expires", "2h", "--node", "n1", "--json"]
    made = json.loads(cli("token", "create", "many", "--join", *flags).out)
    assert (made["uses"], made["nodeId"], made["role"]) == (20, "n1", "join")
    assert made["command"].startswith(f"podling-worker --join {made['token']}")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--uses", "2"], "--uses and --node are only of use with --join"),
        (["--node", "n1", "--role", "worker"], "--uses and --node are only of use with --join"),
        (["--join", "--role", "worker"], "--join makes a token that is good for joining alone"),
        (["--join", "--expires", "8d"], "expiresSeconds: of a join token must be"),
        (["--join", "--node", "../n"], "nodeId"),
    ],
)
def test_a_wish_that_cannot_be_is_told(flags: list[str], words: str, cli: Cli) -> None:
    refused = cli("token", "create", "x", *flags)
    assert refused.code == 2
    assert words in refused.err


def test_a_node_without_a_credential_has_none_to_end(cli: Cli) -> None:
    done = cli("node", "revoke", "n1")
    assert (done.code, done.out) == (0, "n1: the node has no credential\n")


def test_an_authority_is_named_in_one_way(cli: Cli, tmp_path: Path) -> None:
    refused = cli("ps", "--tls-ca", str(tmp_path / "no.pem"), "--tls-fingerprint", "ab" * 32)
    assert (refused.code, refused.out) == (2, "")
    assert "say the same thing; give one of them" in refused.err


def test_a_fingerprint_stands_for_the_authority(
    cli: Cli, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PODLING_TLS_CA", raising=False)
    assert "PODLING_TLS_CA" not in os.environ
    if place.fingerprint is None:
        assert "which is not encrypted" in cli("ps", "--tls-fingerprint", "ab" * 32).err
        return
    assert cli("ps", "--tls-fingerprint", place.fingerprint).code == 0
    assert cli("ps", "--tls-fingerprint", "ab" * 32).code == 2
    unknown = cli("ps")
    assert (unknown.code, "signed by nobody who is trusted here" in unknown.err) == (5, True)
