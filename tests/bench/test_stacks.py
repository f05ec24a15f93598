"""What a profiler wrote is read, added up and drawn."""

from pathlib import Path

import pytest

from bench import flame, profile
from bench.profile import BEGIN, END, Seen
from bench.stacks import boxes, by_part, own, parse, tree
from podling.core.errors import InvalidInput

FOLDED = """\
process 12:"python -c main()";run (uvloop/__init__.py:96);put (/somewhere/podling/kit/batcher.py:30) 6
run (uvloop/__init__.py:96);put (/somewhere/podling/kit/batcher.py:30);loads (/x/lib/python3.11/json/a.py:9) 3
run (uvloop/__init__.py:96);fetch (/x/lib/python3.11/site-packages/asyncpg/pool.py:1) 1
thread (0x7F)
"""
PUT = "put (podling.kit.batcher)"
RUN = "run (uvloop.__init__)"


def test_own_time_is_that_of_the_innermost_function() -> None:
    stacks = parse(FOLDED)
    assert own(stacks) == [(PUT, 0.6), ("loads (json.a)", 0.3), ("fetch (asyncpg.pool)", 0.1)]
    assert by_part(stacks) == [("podling.kit", 0.6), ("json", 0.3), ("asyncpg", 0.1)]
    assert own({}) == []
    made = parse("run (uvloop/__init__.py);copy (<string>:1) 1")
    assert own(made) == [("copy (<string>)", 1.0)] and by_part(made) == [("dataclasses", 1.0)]


def test_frames_lie_in_the_one_that_called_them() -> None:
    found = {name: (depth, begin, width) for depth, begin, width, name in boxes(tree(parse(FOLDED)), 0.2)}
    assert found.keys() == {RUN, PUT, "loads (json.a)"}  # fetch is too narrow
    assert found[RUN] == (0, 0.0, 1.0)
    assert found[PUT] == (1, pytest.approx(0.1), pytest.approx(0.9))
    assert found["loads (json.a)"] == (2, pytest.approx(0.1), pytest.approx(0.3))


def test_a_flame_graph_is_small_and_escaped() -> None:
    picture = flame.draw(parse(FOLDED.replace("put (", "<lambda> (")), "master & worker")
    assert picture.startswith("<svg") and picture.endswith("</svg>\n") and len(picture) < 3_000
    assert "&lt;lambda&gt; (podling.kit.batcher): 90.0%" in picture
    assert "master &amp; worker" in picture and "<lambda>" not in picture


def test_profiles_are_written_between_their_markers(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    seen = Seen("lifecycle", {"master": parse(FOLDED)}, {"master": 200.0, "PostgreSQL": 100.4})
    for _ in range(2):
        profile.write(tmp_path, [seen], "where and when")
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n") and text.endswith(f"{END}\nafter\n") and "old" not in text
    assert "CPU for a task master 200 µs, PostgreSQL 100 µs, 300 µs in all" in text
    assert text.count(f"| `{PUT}` | 60.0% |") == 1
    assert text.count("(benchmarks/profile-lifecycle-master.svg)") == 1
    assert (tmp_path / "benchmarks" / "profile-lifecycle-master.svg").exists()


def test_a_page_without_the_markers_of_profiles_is_refused(tmp_path: Path) -> None:
    (tmp_path / "benchmarks.md").write_text("no markers")
    with pytest.raises(InvalidInput, match="what the profiler has seen"):
        profile.write(tmp_path, [], "")


def test_the_page_of_the_documents_has_the_markers_of_profiles() -> None:
    text = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()
    assert 0 < text.index(BEGIN) < text.index(END)
