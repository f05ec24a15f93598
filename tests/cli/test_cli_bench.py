"""`podling bench` against a master with a worker that simulates."""

import json
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Cli
from tests.cli.masters import running_master
from tests.cli.workers import running_worker


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with (
        running_master("memory", "--allow-simulated") as address,
        running_worker(address, tmp_path_factory.mktemp("worker"), "simulated"),
    ):
        yield address


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, url: str) -> Cli:
    return Cli(monkeypatch, url)


@pytest.mark.parametrize("batch", ["1", "7"])
def test_one_line_tells_what_became_of_the_load(cli: Cli, batch: str) -> None:
    flags = ("--tasks", "40", "--batch", batch, "--connections", "3", "--queue", f"load-{batch}")
    done = cli("bench", *flags, "--runtime", "simulated", "-i", "none")
    assert (done.code, done.err) == (0, "")
    word, *pairs = done.out.split()
    found = dict(pair.split("=") for pair in pairs)
    assert (word, found["scenario"], found["store"]) == ("BENCH_RESULT", "bench", "memory")
    assert (found["tasks"], found["accepted"], found["completed"]) == ("40", "40", "40")
    assert float(found["rate"]) > 0 and float(found["submit_ms_p99"]) >= float(found["submit_ms_p50"]) > 0
    assert len(json.loads(cli("ps", "--queue", f"load-{batch}", "--all", "--json").out)) == 40


def test_what_does_not_end_in_time_is_cancelled_and_told(cli: Cli) -> None:
    flags = ("--tasks", "5", "--wait", "200ms", "--handler", "nobody.has.it", "--json")
    done = cli("bench", *flags)
    assert done.code == 1
    assert "not all ended in time" in done.err
    found = json.loads(done.out)
    assert (found["accepted"], found["completed"], found["cancelled"]) == (5, 0, 5)
    assert found["start_ms_p50"] is None


def test_what_the_door_refuses_is_counted_with_its_reason(cli: Cli) -> None:
    cli("queue", "set", "narrow", "--max-submits-per-minute", "3")
    done = cli("bench", "--tasks", "6", "--queue", "narrow", "--runtime", "simulated", "-i", "none")
    assert done.code == 1
    assert "3 refused: " in done.err
    assert " accepted=3 refused=3 completed=3 " in done.out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "say what each task does"),
        (("--batch", "501", "-i", "none"), "--batch: at most 500"),
        (("--wait", "soon", "-i", "none"), "--wait"),
        (("-i", "none", "--timeout", "soon"), "--timeout"),
    ],
)
def test_a_load_that_means_nothing_is_refused(cli: Cli, flags: tuple[str, ...], words: str) -> None:
    refused = cli("bench", *flags)
    assert refused.code == 2 and words in refused.err, refused
