"""A table on a terminal: fitted to its width, with states in colours unless NO_COLOR is set."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from podling.cli.table import Screen, cells_of
from podling.cli.text import visible

STYLES = {
    "pending": "yellow",
    "scheduled": "cyan",
    "running": "blue",
    "completed": "green",
    "failed": "red",
    "cancelled": "magenta",
    "lost": "red",
    "refused": "yellow",
    "online": "green",
    "offline": "red",
    "cordoned": "yellow",
    "draining": "yellow",
    "drained": "yellow",
    "unhealthy": "red",
    "leads": "green",
    "silent": "red",
    "problem": "red",
    "warning": "yellow",
    "note": "cyan",
    "yes": "green",
    "no": "red",
    "paused": "yellow",
}


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return cells, which hold no control characters any more, under their headings."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(Text(column), overflow="fold", no_wrap=column == "ID")
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    return table


def _console() -> Console:
    return Console(file=sys.stdout, highlight=False, emoji=False, markup=False)


@contextmanager
def live() -> Iterator[Callable[[Screen], None]]:
    """Give a function that fills the whole terminal anew, which is as it was before when this ends."""
    with Live(console=_console(), screen=True, auto_refresh=False) as drawn:
        yield lambda screen: drawn.update(_group(screen), refresh=True)


def _group(screen: Screen) -> Group:
    lines = [Text(visible(line), no_wrap=True, overflow="ellipsis") for line in screen.lines]
    tables = [part for table in screen.tables for part in (Text(), _table(table[0], cells_of(table[1])))]
    return Group(*lines, *tables, *(Text(visible(line)) for line in screen.below))


def draw_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Draw cells, which hold no control characters any more, under their headings."""
    console = _console()
    with console.capture() as drawn:
        console.print(_table(columns, rows))
    for line in drawn.get().splitlines():
        sys.stdout.write(line.rstrip() + "\n")
