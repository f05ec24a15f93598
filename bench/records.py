"""What was measured, kept as JSON beside the documents, so that one scenario can be measured anew."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.report import Result, medians
from bench.sheet import Entry

FILE = Path("benchmarks") / "results.json"


@dataclass(frozen=True)
class Record:
    """All repetitions of a scenario on a store; `commit` tells the day too, `machine` where it ran."""

    scenario: str
    store: str
    settings: str
    machine: str
    commit: str
    results: Sequence[Result]

    @property
    def medians(self) -> Result:
        return medians(self.results)


def load(docs: Path) -> list[Record]:
    """Return what is on record there."""
    file = docs / FILE
    return [Record(**one) for one in json.loads(file.read_text())] if file.exists() else []


def add(docs: Path, record: Record, order: Sequence[Entry]) -> list[Record]:
    """Keep the record in place of an older one; return all of them, in the order of the sheet."""
    kept = [one for one in load(docs) if (one.scenario, one.store) != (record.scenario, record.store)]
    names = [entry.name for entry in order]
    kept = sorted([*kept, record], key=lambda one: _place(names, f"{one.scenario} {one.store}"))
    file = docs / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([_plain(one) for one in kept], indent=1, allow_nan=False) + "\n")
    return kept


def _place(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else len(names)


def _plain(record: Record) -> dict[str, object]:
    results = [
        {key: float(f"{n:.5g}") for key, n in one.items() if math.isfinite(n)} for one in record.results
    ]
    return asdict(record) | {"results": results}
