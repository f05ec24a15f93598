"""The pure parts of the bench: medians, readings of /metrics, records, the page and its plots."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from bench import plots, records
from bench.load import variants
from bench.metrics import Reading, quantile_between
from bench.records import Record
from bench.removals import Removals
from bench.render import BEGIN, END, render, table
from bench.report import medians, percentile, result_line, summary
from bench.sheet import ENTRIES, Bar, find
from bench.trial import Trial
from podling.core.errors import InvalidInput
from podling.kit.metrics import Counter, Histogram, exposition

RECORD = Record(
    "lifecycle",
    "postgres",
    "100 workers",
    "a machine",
    "commit abc, 2026-01-01",
    [
        {"rate": 2_000.0, "lag_ms_p99": 4.0},
        {"rate": 4_000.0, "lag_ms_p99": 12.0},
        {"rate": 3_500.0, "lag_ms_p99": 6.0},
    ],
)
GROWTH = replace(RECORD, scenario="growth", results=[{"queues_10": 5.0, "queues_1": 6.0, "workers_1": 7.0}])
PEERS = replace(
    RECORD, scenario="peers", results=[{"podling_rate": 3.0, "pgqueuer_rate": 2.0, "ratio_pgqueuer": 1.5}]
)


def test_a_line_and_medians_of_repetitions() -> None:
    assert result_line("nodes", "memory", {"rate": 1234.567, "nodes": 10}) == (
        "BENCH_RESULT scenario=nodes store=memory rate=1235 nodes=10"
    )
    assert medians([{"a": 1.0}, {"a": 9.0}, {"a": 2.0}]) == {"a": 2.0}
    assert summary([{"a": 1.0}, {"a": 9.0}, {"a": 2.0}]) == "medians of 3: a 2"


@pytest.mark.parametrize(("percent", "expected"), [(50, 2), (99, 4), (1, 1)])
def test_a_percentile_is_one_of_the_numbers(percent: float, expected: float) -> None:
    assert percentile([4, 1, 3, 2], percent) == expected


def test_no_numbers_have_no_percentile() -> None:
    assert math.isnan(percentile([], 99))


def test_a_trial_can_be_short_and_small() -> None:
    assert Trial().warm_up == 10
    assert Trial(seconds=3).warm_up == 0.5
    assert Trial(scale=0.001).sized(10_000) == 10
    assert Trial(scale=0.001).sized(10, least=2) == 2


def test_what_a_master_tells_is_read_between_two_times() -> None:
    lag, moves = Histogram("lag_seconds", "Lag.", ("loop",)), Counter("moves", "Moves.", ("before", "after"))
    lag.observe_all([4.0] * 10, "a")
    before = Reading(exposition([lag, moves]).decode())
    lag.observe_all([0.004] * 100, "a")
    lag.observe_all([2.0] * 100, "b")
    moves.add("new", "pending", by=7)
    moves.add("running", "completed", by=5)
    moves.add("scheduled", "completed", by=4)
    after = Reading(exposition([lag, moves]).decode())
    assert after.total("moves_total", after="completed") == 9
    assert 0.0025 < quantile_between(before, after, 0.99, "lag_seconds", loop="a") <= 0.005
    assert 1.0 < quantile_between(before, after, 0.99, "lag_seconds") <= 2.5
    assert math.isnan(quantile_between(after, after, 0.99, "lag_seconds"))


def test_the_load_takes_shapes_and_queues_in_turn() -> None:
    specs = variants(2, 4, {"priority": 3})
    assert [spec["resources"]["requests"]["cpu"] for spec in specs] == ["1m", "2m", "1m", "2m"]
    assert len({spec["queue"] for spec in specs}) == 4
    assert {spec["priority"] for spec in specs} == {3}
    assert len(variants(1, 1, {})) == 1


def test_a_bar_is_a_floor_or_a_ceiling() -> None:
    assert Bar("rate", 10).is_met(10) and not Bar("rate", 10).is_met(9)
    assert Bar("lag", 10, is_ceiling=True).is_met(10) and not Bar("lag", 10, is_ceiling=True).is_met(11)
    assert find("lifecycle", "postgres").bars and not find("nodes", "memory").bars


def test_the_table_tells_medians_ranges_and_whether_a_bar_is_met() -> None:
    text = table(
        [replace(RECORD, results=[*RECORD.results, {"rate": 1.0, "lag_ms_p99": 99.0, "more": 5.0}][:3])]
    )
    assert "| `lifecycle` | postgres | `rate` | 3500 (2000 to 4000) | ≥ 3000 | yes |" in text
    assert "| `lifecycle` | postgres | `lag_ms_p99` | 6 (4 to 12) | ≤ 10 | yes |" in text
    assert "Medians measured by `make bench` on a machine; commit abc, 2026-01-01: `lifecycle`." in text


def test_a_figure_that_misses_its_bar_says_so() -> None:
    assert "≥ 3000 | **no** |" in table([replace(RECORD, results=[{"rate": 10.0}])])
    assert "| not seen | ≤ 10 | no |" in table([replace(RECORD, results=[{"rate": 10.0}])])


def test_a_scenario_measured_anew_takes_the_place_of_the_older(tmp_path: Path) -> None:
    records.add(tmp_path, GROWTH, ENTRIES)
    records.add(tmp_path, replace(RECORD, results=[{"rate": 1.0, "report_ms_p50": math.nan}]), ENTRIES)
    kept = records.add(tmp_path, RECORD, ENTRIES)
    assert [one.scenario for one in kept] == ["lifecycle", "growth"]
    assert records.load(tmp_path)[0].medians == RECORD.medians
    assert json.loads((tmp_path / records.FILE).read_text())[0]["commit"] == RECORD.commit


def test_only_what_lies_between_the_markers_is_written(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):
        render(tmp_path, [RECORD, GROWTH], [("bars.svg", "Bars")])
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n") and text.endswith(f"{END}\nafter\n")
    assert "old" not in text and text.count("`lifecycle` | postgres | `rate`") == 1
    assert text.count("![Bars](benchmarks/bars.svg)") == 1


def test_a_page_without_markers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "benchmarks.md").write_text("no markers")
    with pytest.raises(InvalidInput, match="lacks the lines"):
        render(tmp_path, [RECORD], [])
    assert (tmp_path / "benchmarks.md").read_text() == "no markers"


def test_the_same_figures_draw_the_same_plots(tmp_path: Path) -> None:
    drawn = [plots.draw(tmp_path / name, [RECORD, GROWTH, PEERS]) for name in ("a", "b")]
    assert drawn[0] == drawn[1]
    assert [name for name, _ in drawn[0]] == ["bars.svg", "peers.svg", "growth.svg"]
    for name, _ in drawn[0]:
        picture = (tmp_path / "a" / name).read_bytes()
        assert b"<svg" in picture
        assert picture == (tmp_path / "b" / name).read_bytes()


def test_the_points_of_a_curve_are_in_order() -> None:
    assert plots.curve(GROWTH, "queues") == [(1, 6.0), (10, 5.0)]
    assert plots.curve(GROWTH, "nodes") == []


def test_the_page_of_the_documents_has_the_markers() -> None:
    text = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()
    assert 0 < text.index(BEGIN) < text.index(END)


def test_the_steady_rate_leaves_out_the_first_and_the_last() -> None:
    slow_edges = Removals(begin=0.0, times=[10.0, 20.0, 21.0, 22.0, 23.0, 50.0])
    assert slow_edges.steady_rate(2) == 1.0
    assert slow_edges.rate() == 6 / 50
