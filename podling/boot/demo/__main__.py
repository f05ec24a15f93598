"""The program behind `make demo` and `make run`."""

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial

from podling.boot.demo import scenes
from podling.boot.demo.ending import Ending
from podling.boot.demo.machine import Cluster, find_engine, free_port
from podling.boot.demo.screen import Screen
from podling.boot.failure import run

MASTER_PORT = 8070
WORKERS = ("worker-1", "worker-2")


def main(arguments: Sequence[str] | None = None) -> int:
    """Show what Podling does, or with `--stay` keep a cluster up; return the exit code."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--stay", action="store_true", help="start the cluster and stay until Ctrl-C")
    options = parser.parse_args(arguments)
    ending = Ending()
    ending.watch()
    shown = partial(stay if options.stay else demonstrate, ending)
    return run(shown, "run" if options.stay else "demo")


def demonstrate(ending: Ending) -> int:
    """Run every scene; 0 if each ended as it should. Nothing is left running."""
    started = time.monotonic()
    screen = Screen()
    engine = find_engine(screen.note)
    with Cluster(engine, free_port(), screen.note, ending) as cluster:
        for name in WORKERS:
            cluster.start_worker(name)
        screen.nodes(cluster.wait_for_nodes(len(WORKERS)))
        stage = scenes.Stage(cluster=cluster, screen=screen)
        outcomes = [outcome for scene in scenes.ALL for outcome in scene(stage)]
    screen.summary(outcomes, time.monotonic() - started)
    return 0 if all(outcome.went_well for outcome in outcomes) else 1


def stay(ending: Ending) -> int:
    """Keep a master and two workers up until Ctrl-C; then end them and their tasks, at a second kill all."""
    screen = Screen()
    engine = find_engine(screen.note)
    with Cluster(engine, free_port(MASTER_PORT), screen.note, ending) as cluster:
        for name in WORKERS:
            cluster.start_worker(name)
        screen.nodes(cluster.wait_for_nodes(len(WORKERS)))
        screen.next_commands(cluster.url, engine)
        try:
            cluster.wait_for_an_end()
        except KeyboardInterrupt:
            screen.note("ending; tasks that still run are cancelled (again Ctrl-C: everything is killed)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
