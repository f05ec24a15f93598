"""Two hosts become one cluster by the two commands of the README, with TLS."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from podling.core.token import SECRET_PATTERN
from tests.e2e.programs import until
from tests.faults.hosts import HUB, Network
from tests.support import end, require

ROOT = Path(__file__).resolve().parents[2]
COMMAND_SECONDS = 60.0


class Hosts:
    """Two namespaces with a cable between them: `hub`, where the master is, and `second`.

    What is typed there is typed in the clone, by somebody whose home is `folder`.
    """

    def __init__(self, network: Network, folder: Path, stack: ExitStack) -> None:
        self._network = network
        self._stack = stack
        self.folder = folder
        clean = {name: text for name, text in os.environ.items() if not name.startswith("PODLING_")}
        self.environment = clean | {"HOME": str(folder)}
        self.environment.pop("XDG_DATA_HOME", None)

    def run(self, host: str, command: str, **settings: str) -> str:
        """Return what a command printed there."""
        done = subprocess.run(
            self._words(host, command), env=self.environment | settings, cwd=ROOT,
            capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    def start(self, host: str, command: str, **settings: str) -> Path:
        """Run commands there, the last until the test ends; return the file with what it says."""
        path = self.folder / f"{host}.log"
        log = self._stack.enter_context(path.open("ab"))
        program = subprocess.Popen(
            self._words(host, _ending_with_exec(command)), env=self.environment | settings, cwd=ROOT,
            stdout=log, stderr=log,
        )  # fmt: skip
        self._stack.callback(end, program)
        return path

    def _words(self, host: str, command: str) -> Sequence[str]:
        return [*self._network.entering(host), "sh", "-c", command]


def _ending_with_exec(commands: str) -> str:
    """Have the last command be the process that is ended."""
    *before, last = commands.strip().splitlines()
    return "\n".join([*before, f"exec {last}"])


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    require(os.geteuid() == 0, "network namespaces need root")
    with ExitStack() as stack:
        network = Network()
        stack.callback(network.close)
        network.open()
        network.add("second")
        yield Hosts(network, tmp_path, stack)


def blocks_of_the_readme() -> list[str]:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## A second machine\n")[2]
    return re.findall(r"^```\n(.*?)^```$", section.partition("\n## ")[0], re.MULTILINE | re.DOTALL)


def as_here(block: str) -> str:
    """Return it for this network, with a store that needs no machine of its own."""
    there = block.replace("one.example", HUB)
    return there.replace(
        "STORE_TYPE=postgres DATABASE_URL=embedded:/var/lib/podling/postgres", "STORE_TYPE=memory"
    )


def test_the_two_commands_of_the_readme_add_a_second_machine(hosts: Hosts) -> None:
    start, settings, commands = map(as_here, blocks_of_the_readme())
    create, shown = commands.splitlines()
    log = hosts.start("hub", start)
    until(f"the master listens: {log}", lambda: "listening on https" in log.read_text())
    assert "can be read by others" not in log.read_text()
    printed = hosts.run("hub", settings + create).strip()
    assert re.sub(r"podling_join_\w+(\.\w+)?", "podling_join_…", printed) == shown

    mine = {"PODLING_DATA_DIR": str(hosts.folder / "worker"), "PODLING_RUNTIME": "process"}
    log = hosts.start(
        "second", printed, **mine, PODLING_ALLOW_ROOT_PROCESSES="yes", PODLING_HOSTNAME="second"
    )
    until(f"the worker is connected: {log}", lambda: "with master https" in log.read_text())
    script = shlex.quote("echo on $(ip -o -4 address show dev cable | grep -o '10[.]77[^/]*')")
    output = hosts.run("hub", f"{settings}bin/podling run hello --runtime process --wait -- sh -c {script}")
    assert output == "on 10.77.0.2\n"
    said = (hosts.folder / "hub.log").read_text() + log.read_text()
    assert not SECRET_PATTERN.search(said)
