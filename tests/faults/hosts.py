"""Hosts made of network namespaces: a hub with the master, and workers on a cable each.

Cables are veth pairs within 10.77.0.0/24, and every fault is a rule of iptables inside one of these
namespaces, at the receiving end of a cable.
"""

import ctypes
import os
import secrets
import socket
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from podling.client import Client
from tests.e2e.programs import Programs, free_port, programs, until
from tests.faults.proxy import Proxy, proxy
from tests.support import require

HUB = "10.77.0.254"
COMMAND_SECONDS = 20.0
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_libc = ctypes.CDLL(None, use_errno=True)


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS)
    assert done.returncode == 0, (command, done.stderr)


class Network:
    """`add` makes a host; the other methods do something to its cable."""

    def __init__(self) -> None:
        self._token = secrets.token_hex(3)
        self._hosts: list[str] = []
        self._made: list[str] = []

    def open(self) -> None:
        self._make("hub")
        self._in("hub", "ip", "address", "add", f"{HUB}/32", "dev", "lo")

    def close(self) -> None:
        for name in self._made:
            run("ip", "netns", "delete", name)

    def add(self, host: str) -> None:
        """Give the host a cable to the hub."""
        self._make(host)
        number = len(self._hosts)
        self._hosts.append(host)
        own, hub = f"10.77.0.{4 * number + 2}", f"10.77.0.{4 * number + 1}"
        cable = ("type", "veth", "peer", "name", "cable", "netns", self._name(host))
        run("ip", "link", "add", self._port(host), "netns", self._name("hub"), *cable)
        for where, device, address in (("hub", self._port(host), hub), (host, "cable", own)):
            self._in(where, "ip", "address", "add", f"{address}/30", "dev", device)
            self._in(where, "ip", "link", "set", device, "up")
        self._in(host, "ip", "route", "add", "default", "via", hub)

    def cut(self, host: str) -> None:
        """Let nothing pass."""
        self.cut_to_hub(host)
        self.cut_from_hub(host)

    def cut_to_hub(self, host: str) -> None:
        """Let nothing that the host sends arrive."""
        self._in("hub", "iptables", "-w", "-I", "INPUT", "-i", self._port(host), "-j", "DROP")

    def cut_from_hub(self, host: str) -> None:
        """Let nothing that the hub sends arrive at the host."""
        self._in(host, "iptables", "-w", "-I", "INPUT", "-i", "cable", "-j", "DROP")

    def lose(self, host: str, share: float) -> None:
        """Let this share of all packets be lost, in each direction."""
        chance = ("-m", "statistic", "--mode", "random", "--probability", f"{share:g}", "-j", "DROP")
        self._in("hub", "iptables", "-w", "-I", "INPUT", "-i", self._port(host), *chance)
        self._in(host, "iptables", "-w", "-I", "INPUT", "-i", "cable", *chance)

    def heal(self) -> None:
        """Let everything pass again."""
        for name in ("hub", *self._hosts):
            self._in(name, "iptables", "-w", "-F", "INPUT")

    def entering(self, host: str) -> list[str]:
        """Return what a command begins with that shall run there."""
        return ["nsenter", f"--net={self._path(host)}", "--"]

    def connect(self, host: str, address: str, port: int) -> socket.socket:
        """Return a connection that was dialled there."""
        # In a thread of its own, which stays in that namespace.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(self._dial, host, address, port).result()

    def _dial(self, host: str, address: str, port: int) -> socket.socket:
        with self._path(host).open() as namespace:
            if _libc.setns(namespace.fileno(), _NEW_NETWORK) != 0:
                raise OSError(ctypes.get_errno(), f"the namespace of {host} cannot be entered")
        return socket.create_connection((address, port), COMMAND_SECONDS)

    def _make(self, host: str) -> None:
        run("ip", "netns", "add", self._name(host))
        self._made.append(self._name(host))
        self._in(host, "ip", "link", "set", "lo", "up")

    def _in(self, host: str, *command: str) -> None:
        run(*self.entering(host), *command)

    def _name(self, host: str) -> str:
        return f"podling-{self._token}-{host}"

    def _path(self, host: str) -> Path:
        return Path("/run/netns") / self._name(host)

    def _port(self, host: str) -> str:
        return f"to-{host}"


class Spread(Programs):
    """The master in the hub, every worker on a host of its own; the test reaches the master by `relay`."""

    network: Network
    relay: Proxy

    def enter(self, network: Network, stack: ExitStack) -> None:
        """Put the master into the hub."""
        self.network = network
        self.master_url = f"http://{HUB}:{self.port}"
        self.token_file = self.directory / "token"
        token = secrets.token_hex(16)
        self.token_file.write_text(token)
        dial = lambda: network.connect("hub", "127.0.0.1", self.port)  # noqa: E731
        self.relay = stack.enter_context(proxy(dial=dial))
        self.client = Client(self.relay.url, token=token)

    def start_master(self, *flags: str) -> None:
        own = ["--host", "0.0.0.0", "--port", str(self.port), "--advertise-url", self.master_url]
        own += ["--data-dir", str(self.directory / "master"), "--token-file", str(self.token_file)]
        own += ["--lease-seconds", str(self._lease_seconds)]
        self._start("master", "master", [*own, *flags])
        until(f"the master is ready\n{self.log('master')}", self._is_ready)

    def start_worker(self, name: str, *flags: str) -> None:
        own = ["--port", str(free_port()), "--data-dir", str(self.directory / name), "--hostname", name]
        own += ["--master-url", self.master_url, "--token-file", str(self.token_file)]
        self._start(name, "worker", [*own, *flags])

    def _entering(self, name: str) -> Sequence[str]:
        return self.network.entering("hub" if name == "master" else name)


@contextmanager
def spread(lease_seconds: float, workers: Sequence[str], store: str = "memory") -> Iterator[Spread]:
    """Give a master and workers that are online, each in a network namespace."""
    require(os.geteuid() == 0, "network namespaces need root")
    with ExitStack() as stack:
        running = stack.enter_context(programs(store, lease_seconds, kind=Spread))
        network = Network()
        stack.callback(network.close)
        network.open()
        running.enter(network, stack)
        stack.callback(running.stop)
        for name in workers:
            network.add(name)
        running.start_master()
        for name in workers:
            running.start_worker(name, "--capacity", "4", "--shutdown-timeout", "5")
        running.wait_for_workers(len(workers))
        yield running
