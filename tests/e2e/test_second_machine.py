"""Two hosts become one cluster by the two commands of the README, with TLS."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from podling.core.token import SECRET_PATTERN
from tests.e2e.programs import free_port, until
from tests.faults.hosts import HUB, Network
from tests.support import require

ROOT = Path(__file__).resolve().parents[2]
COMMAND_SECONDS = 60.0


class Hosts:
    """Two namespaces with a cable between them: `hub`, where the master is, and `second`."""

    def __init__(self, network: Network, folder: Path, stack: ExitStack) -> None:
        self._network = network
        self._stack = stack
        self.folder = folder
        clean = {name: text for name, text in os.environ.items() if not name.startswith("PODLING_")}
        self.environment = clean | {"PATH": f"{ROOT / 'bin'}:{os.environ['PATH']}", "STORE_TYPE": "memory"}

    def run(self, host: str, command: str, **settings: str) -> str:
        """Return what a command printed there."""
        done = subprocess.run(
            self._words(host, command), env=self.environment | settings, cwd=self.folder,
            capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    def start(self, host: str, command: str, **settings: str) -> Path:
        """Run a command there until the test ends; return the file with what it says."""
        path = self.folder / f"{host}.log"
        log = self._stack.enter_context(path.open("ab"))
        program = subprocess.Popen(
            self._words(host, f"exec {command}"), env=self.environment | settings, cwd=self.folder,
            stdout=log, stderr=log,
        )  # fmt: skip
        self._stack.callback(_end, program)
        return path

    def _words(self, host: str, command: str) -> Sequence[str]:
        return [*self._network.entering(host), "sh", "-c", command]


def _end(program: "subprocess.Popen[bytes]") -> None:
    program.terminate()
    try:
        program.wait(20)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    require(os.geteuid() == 0, "network namespaces need root")
    with ExitStack() as stack:
        network = Network()
        stack.callback(network.close)
        network.open()
        network.add("second")
        yield Hosts(network, tmp_path, stack)


def commands_of_the_readme() -> list[str]:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## A second machine\n")[2]
    blocks = re.findall(r"^```\n(.*?)^```$", section.partition("\n## ")[0], re.MULTILINE | re.DOTALL)
    return blocks[-1].splitlines()


def start_master(hosts: Hosts) -> Mapping[str, str]:
    """Start it as the README says; return the settings for the command on its host."""
    port = free_port()
    (hosts.folder / "token").write_text("a-token-for-the-master-and-its-admin\n")
    flags = f"--host 0.0.0.0 --port {port} --tls-self-signed --token-file token --data-dir master"
    log = hosts.start("hub", f"podling-master {flags} --advertise-url https://{HUB}:{port}")
    until(f"the master listens: {log}", lambda: "listening on https" in log.read_text())
    return {
        "PODLING_MASTER_URL": f"https://{HUB}:{port}",
        "PODLING_TOKEN_FILE": "token",
        "PODLING_TLS_CA": "master/tls/ca.pem",
    }


def test_the_two_commands_of_the_readme_add_a_second_machine(hosts: Hosts) -> None:
    first, shown = commands_of_the_readme()
    settings = start_master(hosts)
    printed = hosts.run("hub", first, **settings).strip()
    likeness = re.sub(r"podling_join_\w+(\.\w+)?", "podling_join_…", printed)
    assert likeness == re.sub(r"https://\S+", settings["PODLING_MASTER_URL"], shown)

    mine = {"PODLING_DATA_DIR": "worker", "PODLING_RUNTIME": "process", "PODLING_ALLOW_ROOT_PROCESSES": "yes"}
    log = hosts.start("second", printed, **mine, PODLING_HOSTNAME="second")
    until(f"the worker is connected: {log}", lambda: "with master https" in log.read_text())
    script = shlex.quote("echo on $(ip -o -4 address show dev cable | grep -o '10[.]77[^/]*')")
    output = hosts.run("hub", f"podling run hello --runtime process --wait -- sh -c {script}", **settings)
    assert output == "on 10.77.0.2\n"
    said = (hosts.folder / "hub.log").read_text() + log.read_text()
    assert not SECRET_PATTERN.search(said)
