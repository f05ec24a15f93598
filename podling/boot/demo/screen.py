"""What the demo writes on the terminal."""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from podling.boot.demo.machine import Engine
    from podling.boot.demo.scenes import Outcome

_COLOURS = {"completed": "green", "running": "cyan", "failed": "red", "cancelled": "yellow", "lost": "red"}
_MOST_LOG_LINES = 8
WIDTH_WITHOUT_TERMINAL = 120


class Screen:
    """Writes plain lines where the output is no terminal."""

    def __init__(self, console: Console | None = None) -> None:
        width = None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
        self._console = console or Console(highlight=False, soft_wrap=True, width=width)
        self._hostnames: dict[str, str] = {}

    def note(self, text: str) -> None:
        self._console.print(f"[dim]· {escape(text)}[/]")

    def scene(self, title: str) -> None:
        self._console.print(f"\n[bold]── {escape(title)}[/]")

    def action(self, text: str) -> None:
        self._console.print(f"  [bold cyan]$[/] {escape(text)}")

    def nodes(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        for node in nodes:
            self._hostnames[node["nodeId"]] = node["hostname"]
            capacity = node["resources"]["allocatable"]
            amounts = f"{capacity['cpu'] / 1000:g} CPU, {capacity['memory'] / 2**30:.1f} GiB for tasks"
            self.note(f"{node['hostname']} is {node['status']}: {amounts}, {node['capacity']} slots")

    def placement(self, name: str, attempts: Sequence[Mapping[str, Any]]) -> None:
        for attempt in attempts:
            code = "" if attempt["exitCode"] is None else f", exit code {attempt['exitCode']}"
            what = f"{escape(name)}, attempt {attempt['attempt']} on {self._readable(attempt['nodeId'])}"
            self._line("placed", f"{what}: {_status(attempt['status'])}{code}")

    def logs(self, text: str) -> None:
        for number, line in enumerate(text.splitlines()[-_MOST_LOG_LINES:]):
            self._line("" if number else "logs", f"[dim]│[/] {escape(line)}")

    def timeline(self, lines: Sequence[Mapping[str, Any]]) -> None:
        first = _time(lines[0]["at"]) if lines else None
        for number, line in enumerate(lines):
            assert first is not None, "there is a line"
            seconds = (_time(line["at"]) - first).total_seconds()
            self._line("" if number else "timeline", f"{seconds:+8.3f} s  {self._readable(line['message'])}")

    def explanation(self, explanation: Mapping[str, Any]) -> None:
        self._line("explain", f"[bold]{self._readable(explanation['summary'])}[/]")
        for reason in explanation["reasons"] if explanation["status"] == "pending" else ():
            self._line("", f"- {self._readable(reason['message'])}")
        if explanation.get("advice"):
            self._line("", f"Advice: {escape(str(explanation['advice']))}")

    def summary(self, outcomes: "Sequence[Outcome]", seconds: float) -> None:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("TASK", "STATUS", "ATTEMPTS", "NODES", "WHAT IT SHOWED"):
            table.add_column(column)
        for outcome in outcomes:
            task = outcome.task
            places = ", ".join(dict.fromkeys(outcome.places)) or "-"
            note = outcome.note if outcome.went_well else f"NOT AS EXPECTED; wanted: {outcome.note}"
            row = (task["name"], _status(task["status"]), str(task["attempt"]), places, escape(note))
            table.add_row(*row)
        self._console.print()
        self._console.print(table)
        well = sum(outcome.went_well for outcome in outcomes)
        self._console.print(
            f"\n{well} of {len(outcomes)} as expected in {seconds:.0f} s; nothing is left running."
        )

    def next_commands(self, url: str, engine: "Engine") -> None:
        """Tell what to type, for a cluster that stays."""
        what = f"-i {engine.image} -- echo hi" if engine.image else "--runtime process -- echo hi"
        self._console.print(f"\n[bold]Podling is up at {url}[/]. In another terminal:")
        if not url.endswith(":8070"):
            self._console.print(f"  export PODLING_MASTER_URL={url}")
        for command in (f"run hello {what}", "ps", "logs hello", "explain hello", "nodes", "status"):
            self._console.print(f"  bin/podling {command}")
        self._console.print("Ctrl-C ends it and removes its data.\n")

    def _readable(self, text: object) -> str:
        """Return the text with nodes by their names, for ids of two workers are hard to tell apart."""
        told = str(text)
        for node_id, hostname in self._hostnames.items():
            told = told.replace(f"node {node_id}", hostname).replace(node_id, hostname)
        return escape(told)

    def _line(self, head: str, text: str) -> None:
        self._console.print(f"  [dim]{head:<9}[/] {text}")


def _status(status: str) -> str:
    colour = _COLOURS.get(status, "default")
    return f"[{colour}]{escape(status)}[/]"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
