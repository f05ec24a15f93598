"""What fails while the bench runs takes nothing else with it, and one scenario can be measured anew."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import records
from bench.__main__ import main, run_all
from bench.render import BEGIN, END
from bench.report import Result
from bench.sheet import Entry, find
from bench.trial import Trial
from podling.core.errors import PodlingError

LIFECYCLE = find("lifecycle", "memory")
SUBMIT = find("submit", "memory")
SMALL = Trial("memory", 1.0, 0.01)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "benchmarks.md").write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    return tmp_path


def gives(monkeypatch: pytest.MonkeyPatch, entry: Entry, *given: Result | Exception) -> None:
    """Have the scenario give this, in turn."""
    coming: Iterator[Result | Exception] = iter(given)

    async def run(trial: Trial) -> Result:
        one = next(coming)
        if isinstance(one, Exception):
            raise one
        return one

    scenario = SimpleNamespace(SETTINGS="settings", run=run)
    monkeypatch.setitem(sys.modules, f"bench.{entry.scenario}", scenario)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error", [PodlingError("there is no room"), ExceptionGroup("two", [OSError("gone")])]
)
def test_a_scenario_that_fails_is_told_and_the_others_are_recorded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], docs: Path, error: Exception
) -> None:
    gives(monkeypatch, LIFECYCLE, error, error)
    gives(monkeypatch, SUBMIT, {"rate": 7_000.0}, {"rate": 9_000.0})
    assert run_all([LIFECYCLE, SUBMIT], SMALL, 2, docs) == 1
    assert [(one.scenario, one.medians) for one in records.load(docs)] == [("submit", {"rate": 8_000.0})]
    told = capsys.readouterr()
    assert told.err.count("bench: lifecycle memory, repetition") == 2
    assert "there is no room" in told.err or "gone" in told.err
    assert told.out.count("BENCH_RESULT scenario=submit store=memory rate=") == 2


def test_a_repetition_that_fails_leaves_those_that_did_not(
    monkeypatch: pytest.MonkeyPatch, docs: Path
) -> None:
    gives(monkeypatch, LIFECYCLE, {"rate": 1.0}, TimeoutError(), {"rate": 3.0, "lag_ms_p99": 2.0})
    assert run_all([LIFECYCLE], SMALL, 3, docs) == 1
    (record,) = records.load(docs)
    assert record.medians == {"rate": 2.0, "lag_ms_p99": 2.0}


def test_scenarios_measured_one_by_one_stand_in_one_table(
    monkeypatch: pytest.MonkeyPatch, docs: Path
) -> None:
    gives(monkeypatch, LIFECYCLE, {"rate": 1.0}, {"rate": 4_321.0})
    gives(monkeypatch, SUBMIT, {"rate": 8_765.0, "lag_ms_p99": float("nan")}, {"rate": 8_765.0})
    for entries in ([LIFECYCLE], [SUBMIT], [LIFECYCLE]):
        assert run_all(entries, SMALL, 1, docs) == 0
    text = (docs / "benchmarks.md").read_text()
    assert "| 4321 (4321 to 4321) |" in text and "| 8765 (8765 to 8765) |" in text
    assert text.count("`lifecycle` | memory | `rate`") == 1
    assert text.count("settings; 1 × 1 s, at 0.01 of that size: for trying") == 2
    assert text.startswith("before\n") and text.endswith("after\n")
    assert (docs / "benchmarks" / "bars.svg").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lifecycle", "unheard"], "there is no scenario unheard; there are lifecycle,"),
        (["lifecycle", "--record", "missing"], "lacks the lines"),
    ],
)
def test_what_cannot_be_run_or_recorded_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    gives(monkeypatch, find("lifecycle", "postgres"))
    try:
        code: object = main()
    except SystemExit as exit_:
        code = exit_.code
    assert code == 2 and said in capsys.readouterr().err
