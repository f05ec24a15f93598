"""Writes what was measured into docs/benchmarks.md, between two markers."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.records import Record
from bench.sheet import Bar, find
from podling.core.errors import InvalidInput

PAGE = "benchmarks.md"
BEGIN = "<!-- what make bench has measured: written by it -->"
END = "<!-- the end of what make bench has measured -->"
HEAD = "| scenario | store | key | median (range) | bar | met |\n|---|---|---|---|---|---|"


def render(docs: Path, records: Sequence[Record], drawn: Sequence[tuple[str, str]]) -> None:
    """Replace what lies between the markers; `drawn` are the plots, each its file's name and its title.

    Raises InvalidInput if the markers are not there.
    """
    before, after = around(docs)
    pictures = "".join(f"\n![{title}](benchmarks/{name})\n" for name, title in drawn)
    (docs / PAGE).write_text(f"{before}{BEGIN}\n\n{table(records)}\n{pictures}\n{END}{after}")


def around(docs: Path, begins: str = BEGIN, ends: str = END) -> tuple[str, str]:
    """Return the page before and after two markers. Raises InvalidInput if it does not have them."""
    page = docs / PAGE
    before, begin, rest = page.read_text().partition(begins) if page.exists() else ("", "", "")
    _, end, after = rest.partition(ends)
    if not (begin and end):
        raise InvalidInput(f"{page} lacks the lines {begins!r} and {ends!r}, between which is written")
    return before, after


def table(records: Sequence[Record]) -> str:
    """Return the table of figures with their bars, and below it all the others."""
    rows = [row for record in records for row in _rows(record)]
    rest = [_rest(record) for record in records]
    return "\n".join([*_places(records), HEAD, *rows, "", "How, and what else was seen:", "", *rest])


def _places(records: Sequence[Record]) -> Iterator[str]:
    """Tell where each scenario was measured, and of which commit."""
    for machine, commit in dict.fromkeys((one.machine, one.commit) for one in records):
        names = [one.scenario for one in records if (one.machine, one.commit) == (machine, commit)]
        listed = ", ".join(f"`{name}`" for name in dict.fromkeys(names))
        yield f"Medians measured by `make bench` on {machine}; {commit}: {listed}."
        yield ""


def _rows(record: Record) -> Iterator[str]:
    for bar in find(record.scenario, record.store).bars:
        yield _row(record, bar)


def _row(record: Record, bar: Bar) -> str:
    numbers = [one[bar.key] for one in record.results if bar.key in one]
    if not numbers:
        return f"| `{record.scenario}` | {record.store} | `{bar.key}` | not seen | {bar} | no |"
    middle = record.medians[bar.key]
    spread = f"{middle:.4g} ({min(numbers):.4g} to {max(numbers):.4g})"
    met = "yes" if bar.is_met(middle) else "**no**"
    return f"| `{record.scenario}` | {record.store} | `{bar.key}` | {spread} | {bar} | {met} |"


def _rest(record: Record) -> str:
    barred = {bar.key for bar in find(record.scenario, record.store).bars}
    rest = ", ".join(f"`{key}` {n:.4g}" for key, n in record.medians.items() if key not in barred)
    return f"- `{record.scenario}`, {record.store} ({record.settings}): {rest}"
