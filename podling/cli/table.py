"""Tables for people: coloured and fitted on a terminal, plain columns into a pipe."""

import sys
from collections.abc import Iterable, Sequence

from podling.cli.text import visible
from podling.core.value import value

_GAP = "  "


@value
class Screen:
    """What fills a screen: lines, tables of columns and rows, and lines below them."""

    lines: tuple[str, ...]
    tables: tuple[tuple[Sequence[str], Sequence[Sequence[object]]], ...] = ()
    below: tuple[str, ...] = ()


def cells_of(rows: Iterable[Sequence[object]]) -> list[list[str]]:
    """Return what is written for each, without anything that could play with a terminal."""
    return [[visible("-" if item is None or item == "" else item) for item in row] for row in rows]


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their headings."""
    cells = cells_of(rows)
    if sys.stdout.isatty():
        # rich takes a sixth of a command's time to import, and a pipe has no colours and no edge.
        from podling.cli.terminal import draw_table

        draw_table(columns, cells)
    else:
        _print_plain(columns, cells)


def _print_plain(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = [columns, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write(_GAP.join(padded).rstrip() + "\n")
