"""The result as a table for people, as JSON for programs, and as a page of the documentation."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Result = Mapping[str, Any]

_HEAD = """# The long run

`make soak` runs a cluster of real programs under load while seeded faults happen: masters on a PostgreSQL of its own, workers for containers (on two private Docker engines), processes and simulated tasks, with relays between them that can spoil connections. Processes and containers write their starts and ends into a ledger outside Podling, which is compared with the store at the end. Meanwhile old attempts' reports and old leaders' writes are sent on purpose. The lease is half of the default, so that losses are frequent; times that wait for a lease are twice as long by default.

This page is written by `python -m tests.soak --write-docs` and shows its last run.
"""  # noqa: E501


def commit() -> str:
    """Return the commit that runs, with a mark if files were changed since."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    return done.stdout.strip() or "unknown"


def write_json(result: Result, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")


def page(result: Result) -> str:
    """Return docs/soak.md."""
    sections = [f"## {title}\n\n{_markdown(head, rows)}" for title, head, rows in tables(result)]
    return "\n".join([_HEAD, *sections])


def text(result: Result) -> str:
    """Return the tables for a terminal."""
    return "\n".join(f"\n{title}\n{_columns(head, rows)}" for title, head, rows in tables(result))


def verdict(result: Result) -> str:
    """Return the outcome in one line for scripts. A run in which nothing happened has not passed."""
    tasks, faults = sum(result["tasks"].values()), sum(result["faults"].values())
    passed = not result["violations"] and tasks and faults
    findings, times = result["findings"], result["times"]
    back = times.get("first commit after PostgreSQL's return", {}).get("max")
    told = {
        "verdict": "passed" if passed else "failed" if result["violations"] else "nothing_happened",
        "seed": result["seed"],
        "tasks": tasks,
        "faults": faults,
        "lost": findings["lost"],
        "doubled": findings["doubled"],
        "stale_accepted": result["staleAccepted"],
        "wrong_end": findings["wrongEnd"],
        "left_behind": result["leftBehind"],
        "not_healed": len(result["failures"]),
        "first_commit_s_max": "none" if back is None else f"{back:.2f}",
    }
    return "CHAOS_RESULT " + " ".join(f"{name}={item}" for name, item in told.items())


Row = tuple[str, ...]


def tables(result: Result) -> Iterator[tuple[str, Row, list[Row]]]:
    """Yield title, head and rows of each table."""
    yield "Outcome", ("what", "result"), _outcome(result)
    yield "Tasks", ("runtime", "tasks"), _pairs(result["tasks"])
    yield "Faults", ("fault", "times"), _pairs(result["faults"])
    yield "Stale writes", ("sent", "times"), _pairs(result["staleSent"])
    yield "Times in seconds", ("what", "count", "p50", "p99", "most", "to reach"), _times(result)
    head = (
        *("program", "memory MiB", "descriptors", "threads", "connections to PostgreSQL", "age in minutes"),
        "asyncio tasks",
    )
    yield "Before (after warm-up, idle) and after (idle again)", head, _usages(result)


def _outcome(result: Result) -> list[Row]:
    findings = result["findings"]
    return [
        ("date", result["date"]),
        ("commit", result["commit"]),
        ("machine", result["machine"]),
        ("minutes of faults", f"{result['minutes']:g}"),
        ("seed", f"{result['seed']}"),
        ("lease", f"{result['leaseSeconds']:g} s"),
        ("tasks accepted", f"{sum(result['tasks'].values())}"),
        ("faults", f"{sum(result['faults'].values())}"),
        ("submits sent again", f"{result['repeatedSubmits']}"),
        ("lost", f"{findings['lost']}"),
        ("`at_most_once` doubled", f"{findings['doubled']}"),
        ("attempts started twice", f"{findings['startedTwice']}"),
        ("stale writes accepted", f"{result['staleAccepted']} of {sum(result['staleSent'].values())}"),
        ("ended otherwise than they should", f"{findings['wrongEnd']}"),
        ("contradictions in the store", f"{findings['inconsistent']}"),
        ("held at the end, with a reason", f"{findings['held']}"),
        ("left behind", f"{result['leftBehind']}"),
        ("faults that did not heal", f"{len(result['failures'])}"),
        ("above the baseline at the end", f"{len(result['grown'])}"),
        ("log streams broken off", f"{sum(result['streams'].values())}"),
        ("started again after the engine was killed during the start", f"{findings['forgotten']}"),
        ("overlaps of two attempts of one `at_least_once` task, recorded", f"{findings['overlaps']}"),
    ]


_TO_REACH = {
    "worker loss found": 15,
    "task restarted elsewhere": 20,
    "leader failover after a crash": 15,
    "leader failover after a clean stop, from SIGTERM": 1,
    "first commit after PostgreSQL's return": 3,
    "LISTEN back": 8,
}


def _times(result: Result) -> list[Row]:
    return [
        (name, f"{row['count']}", *(f"{row[key]:.2f}" for key in ("p50", "p99", "max")), _bound(name))
        for name, row in result["times"].items()
    ]


def _bound(name: str) -> str:
    return str(_TO_REACH.get(name, ""))


def _pairs(counts: Mapping[str, int]) -> list[Row]:
    rows = [(name, str(count)) for name, count in sorted(counts.items())]
    return [*rows, ("all", str(sum(counts.values())))]


def _usages(result: Result) -> list[Row]:
    return [
        (name, *(_change(result["before"].get(name), after, key) for key in _USAGE))
        for name, after in result["after"].items()
    ]


_USAGE = ("resident_mib", "descriptors", "threads", "connections", "age_minutes", "asyncio_tasks")


def _change(before: Mapping[str, Any] | None, after: Mapping[str, Any], key: str) -> str:
    if after[key] is None:
        return ""
    return f"{before[key]:g} → {after[key]:g}" if before and before[key] is not None else f"{after[key]:g}"


def _markdown(head: Row, rows: list[Row]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _columns(head: Row, rows: list[Row]) -> str:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]
    ]
    return "\n".join(f"  {line.rstrip()}" for line in lines)
