"""A table on a terminal: fitted to its width, with states in colours unless NO_COLOR is set."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

_STYLES = {
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
}


def draw_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Draw cells, which hold no control characters any more, under their headings."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(Text(column), overflow="fold", no_wrap=column == "ID")
    for row in rows:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    console = Console(file=sys.stdout, highlight=False, emoji=False, markup=False)
    with console.capture() as drawn:
        console.print(table)
    for line in drawn.get().splitlines():
        sys.stdout.write(line.rstrip() + "\n")
