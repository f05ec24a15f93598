"""Draws what was measured: figures over their bars, peers, growth curves."""

from collections.abc import Sequence
from pathlib import Path

from bench.growth import CURVES
from bench.records import Record
from bench.sheet import find

INK = "#1f6f8b"
MISSED = "#c8553d"
Drawn = list[tuple[str, str]]


def draw(folder: Path, records: Sequence[Record]) -> Drawn:
    """Write the plots that these records allow; return each file's name and title."""
    import matplotlib as mpl

    mpl.use("svg")
    # The same figures make the same file.
    mpl.rcParams.update({"svg.hashsalt": "podling", "axes.spines.top": False, "axes.spines.right": False})
    folder.mkdir(parents=True, exist_ok=True)
    return _reached(folder, records) + _peers(folder, records) + _growth(folder, records)


def _reached(folder: Path, records: Sequence[Record]) -> Drawn:
    """How far each figure is past its bar: above 1 is better, whichever way it counts."""
    found = [
        (f"{record.scenario} {record.store}: {bar.key} {bar}", bar, record.medians[bar.key])
        for record in records
        for bar in find(record.scenario, record.store).bars
        if bar.number and bar.key in record.medians
    ]
    factors = [bar.number / max(n, 1e-9) if bar.is_ceiling else n / bar.number for _, bar, n in found]
    if not found:
        return []
    return _bars(folder / "bars.svg", "Times better than its bar", [name for name, _, _ in found], factors, 1)


def _peers(folder: Path, records: Sequence[Record]) -> Drawn:
    for record in records:
        if record.scenario == "peers":
            rates = {key: n for key, n in record.medians.items() if key.endswith("_rate")}
            names = [key.removesuffix("_rate") for key in rates]
            return _bars(folder / "peers.svg", "No-op jobs a second", names, list(rates.values()), None)
    return []


def _bars(
    file: Path, title: str, names: Sequence[str], numbers: Sequence[float], mark: float | None
) -> Drawn:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1 + 0.3 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    if mark is None:
        axes.barh(names, numbers, color=INK)
    else:
        colours = [INK if number >= mark else MISSED for number in numbers]
        axes.barh(names, [number - mark for number in numbers], left=mark, color=colours)
        axes.set_xscale("log")
        axes.axvline(mark, color=INK)
    axes.invert_yaxis()
    axes.set_title(title)
    figure.savefig(file, metadata={"Date": None})
    return [(file.name, title)]


def _growth(folder: Path, records: Sequence[Record]) -> Drawn:
    from matplotlib.figure import Figure

    for record in records:
        if record.scenario != "growth":
            continue
        figure = Figure(figsize=(9, 6), layout="constrained")
        for place, name in enumerate(CURVES, 1):
            points = curve(record, name)
            axes = figure.add_subplot(2, 2, place)
            axes.plot([x for x, _ in points], [y for _, y in points], marker="o", color=INK)
            axes.set_xscale("log")
            axes.set_ylim(0, 1.1 * max((y for _, y in points), default=1) or 1)
            axes.set_title(f"tasks a second by {name}")
        figure.savefig(folder / "growth.svg", metadata={"Date": None})
        return [("growth.svg", "Tasks a second by what grows")]
    return []


def curve(record: Record, name: str) -> list[tuple[int, float]]:
    """Return the points of a growth curve, from its keys `name_number`."""
    keys = [key for key in record.medians if key.rpartition("_")[0] == name]
    return sorted((int(key.rpartition("_")[2]), record.medians[key]) for key in keys)
