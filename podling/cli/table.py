"""Tables and coloured lines for people. Imported only by commands that draw one."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from podling.cli.text import visible

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
    "unhealthy": "red",
    "yes": "green",
    "no": "red",
}
_PIPE_WIDTH = 100_000  # a pipe has no edge to wrap at


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], indent: int = 0) -> None:
    """Print rows under their headings; a cell that is a state is coloured on a terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(Text(column), overflow="fold", no_wrap=not sys.stdout.isatty())
    for row in rows:
        table.add_row(*(_cell(item) for item in row))
    console = _console()
    with console.capture() as drawn:
        console.print(table)
    for line in drawn.get().splitlines():
        sys.stdout.write(f"{' ' * indent}{line.rstrip()}\n")


def _cell(item: object) -> Text:
    text = visible("-" if item is None or item == "" else item)
    return Text(text, style=_STYLES.get(text.split(" ", 1)[0], ""))


def _console() -> Console:
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(file=sys.stdout, width=width, highlight=False, emoji=False, markup=False)
