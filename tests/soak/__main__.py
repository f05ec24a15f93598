"""Run it, print the tables, write the JSON; exit code 1 if anything was violated."""

import argparse
import asyncio
import json
import logging
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from tests.soak import report
from tests.soak.cluster import cluster, remove_files
from tests.soak.run import Run
from tests.soak.settings import Settings

DOCS = Path("docs/soak.md")


def main() -> int:
    """Return the exit code."""
    given = _arguments()
    if given.render:
        DOCS.write_text(report.page(json.loads(given.json.read_text())))
        return 0
    settings = Settings(
        minutes=given.minutes,
        seed=given.seed,
        rate=given.rate,
        only=tuple(given.only or ()),
        streams=given.streams,
        warm_up_seconds=given.warm_up,
        idle_seconds=given.idle,
        keep=given.keep,
        with_docker=not given.without_docker,
        result=given.json,
        docs=DOCS if given.write_docs else None,
    )
    print(f"soak: {settings.minutes:g} minutes, SEED={settings.seed}", flush=True)
    return asyncio.run(_run(settings))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    variables = os.environ
    parser.add_argument("--minutes", type=float, default=float(variables.get("SOAK_MINUTES") or 60))
    parser.add_argument("--seed", type=int, default=int(variables.get("SEED") or secrets.randbelow(10**6)))
    parser.add_argument("--rate", type=float, default=6.5, help="tasks a second")
    parser.add_argument("--streams", type=int, default=1000, help="log streams to break off at the end")
    parser.add_argument("--warm-up", type=float, default=30.0, help="seconds of load before the baseline")
    parser.add_argument("--idle", type=float, default=20.0, help="seconds of rest before the last count")
    parser.add_argument("--only", action="append", help="only faults whose name has this word; repeatable")
    parser.add_argument("--without-docker", action="store_true", help="no private engines")
    parser.add_argument("--keep", action="store_true", help="keep the files of a good run, too")
    parser.add_argument("--json", type=Path, default=Settings().result, help="where the result is written")
    parser.add_argument("--write-docs", action="store_true", help=f"write {DOCS} too")
    parser.add_argument("--render", action="store_true", help=f"only write {DOCS} from --json, and end")
    return parser.parse_args()


async def _run(settings: Settings) -> int:
    begin = time.monotonic()

    def log(line: str) -> None:
        print(f"[{time.monotonic() - begin:7.1f} s] {line}", flush=True)

    async with cluster(settings) as started:
        log(f"files are in {started.directory}")
        logging.basicConfig(filename=started.directory / "soak.log", level=logging.WARNING)
        run = Run(started, log)
        result = await run.complete()
    left = started.left_processes()
    if left:
        run.violations.setdefault("leftBehind", []).extend(f"process {pid} after the end" for pid in left)
    _tell(result, settings)
    if run.violations:
        _tell_violations(run.violations, started.directory)
        return 1
    if " verdict=passed " not in report.verdict(result):
        print("nothing was tried: no task was accepted, or no fault happened", file=sys.stderr, flush=True)
        return 1
    if not settings.keep:
        remove_files(started.directory)
    return 0


def _tell(result: dict[str, Any], settings: Settings) -> None:
    print(report.text(result))
    report.write_json(result, settings.result)
    if settings.docs is not None:
        settings.docs.write_text(report.page(result))
    print(f"\nresult in {settings.result}\n{report.verdict(result)}", flush=True)


def _tell_violations(violations: dict[str, list[str]], directory: Path) -> None:
    print("\nVIOLATIONS", file=sys.stderr)
    for kind, told in violations.items():
        print(f"  {kind}: {len(told)}", file=sys.stderr)
        for sentence in told[:20]:
            print(f"    {sentence}", file=sys.stderr)
    print(f"the files of this run are in {directory}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
