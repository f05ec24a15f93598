"""A workflow as a tree: every key once, below the last of the parents that it waits for."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from podling.cli.terminal import STYLES
from podling.cli.text import parse_time, span, visible
from podling.client.call import JsonObject

_SIGNS = {"pending": "○", "scheduled": "◔", "running": "●", "completed": "✔", "failed": "✘", "cancelled": "–"}
_ORDER = ("running", "scheduled", "pending", "failed", "cancelled", "completed")
_PIPED_WIDTH = 500  # wide enough for any reason
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class Branch:
    """A key with its tasks: one, or those of an array."""

    key: str
    parents: Sequence[str]
    tasks: list[JsonObject] = field(default_factory=list)

    @property
    def counts(self) -> Mapping[str, int]:
        found = dict.fromkeys(_ORDER, 0)
        for task in self.tasks:
            if task["status"] in found:
                found[task["status"]] += 1
        return {status: count for status, count in found.items() if count}

    @property
    def status(self) -> str:
        """What to show of all together: the first that there is."""
        return next(iter(self.counts), "forgotten")


def branches(workflow: JsonObject) -> dict[str, Branch]:
    """Gather the tasks by key, in the order of the submission."""
    found: dict[str, Branch] = {}
    for task in workflow["tasks"]:
        parents = [parent["key"] for parent in task["dependsOn"]]
        found.setdefault(task["key"], Branch(task["key"], parents)).tasks.append(task)
    return found


def tree_of(workflow: JsonObject, now: datetime | None = None) -> Tree:
    """Return the tree that is drawn."""
    keyed = branches(workflow)
    names = {task["taskId"]: name_of(task) for task in workflow["tasks"]}
    place = {key: Tree(_label(branch, names, now or datetime.now(UTC))) for key, branch in keyed.items()}
    depths = _depths(keyed)
    root = Tree(_head(workflow))
    for key, branch in keyed.items():
        last = max(branch.parents, key=lambda parent: depths[parent], default=None)
        (root if last is None else place[last]).children.append(place[key])
    return root


def _depths(keyed: Mapping[str, Branch]) -> dict[str, int]:
    """Return of each key how many follow each other before it at most; a workflow has no cycle."""
    depths: dict[str, int] = {}
    waiting = list(keyed)
    while waiting:
        key = waiting[-1]
        left = [parent for parent in keyed[key].parents if parent not in depths]
        if left:
            waiting += left
            continue
        depths[key] = 1 + max((depths[parent] for parent in keyed[key].parents), default=-1)
        waiting.pop()
    return depths


def _head(workflow: JsonObject) -> Text:
    total, ended = len(workflow["tasks"]), sum(workflow["counts"].get(status, 0) for status in _ORDER[3:])
    text = Text(visible(workflow["name"]), style="bold")
    text.append(f" {workflow['status']}", STYLES.get(workflow["status"], ""))
    return text.append(f", {ended} of {total} tasks have ended", "")


def name_of(task: JsonObject) -> str:
    """Return what a task is called in its workflow."""
    index = task.get("arrayIndex")
    return str(task["key"]) if index is None else f"{task['key']}[{index}]"


def _label(branch: Branch, names: Mapping[str, str], now: datetime) -> Text:
    status = branch.status
    text = Text(f"{_SIGNS.get(status, '?')} {visible(branch.key)} ", style=STYLES.get(status, ""))
    if len(branch.tasks) > 1 or branch.tasks[0].get("arrayIndex") is not None:
        counts = ", ".join(f"{count} {name}" for name, count in branch.counts.items())
        text.append(f"[{len(branch.tasks)}] {counts}")
    else:
        text.append(_words(branch.tasks[0], names, now))
    if len(branch.parents) > 1:
        text.append(f"  (after {', '.join(map(visible, branch.parents))})", "dim")
    return text


def _words(task: JsonObject, names: Mapping[str, str], now: datetime) -> str:
    """Errors name other tasks by their ids; here they have keys."""
    words = str(task["status"] or "forgotten")
    if (started := parse_time(task.get("startedAt"))) is not None:
        ended = parse_time(task.get("finishedAt")) or now
        words += f" {span((ended - started).total_seconds())}"
    if error := visible(_ID.sub(lambda found: names.get(found[0], found[0]), task.get("error") or "")):
        words += f": {error}"
    return words


def console() -> Console:
    """Return where a tree is drawn: wrapped below its branch on a terminal, a line each into a pipe."""
    width = None if sys.stdout.isatty() else _PIPED_WIDTH
    return Console(highlight=False, emoji=False, markup=False, width=width)
