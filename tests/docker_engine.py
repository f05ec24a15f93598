"""Real Docker engines for tests: the machine's shared one, and private ones that may be killed."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

IMAGE = "podling-busybox:local"
BIN = Path(__file__).parent.parent / "bin"
DEADLINE_SECONDS = 60.0


def engine_answers(host: str | None = None) -> bool:
    """Whether an engine answers at `host`, else at DOCKER_HOST or the default socket."""
    return _docker(host, "version", "--format", "{{.Server.Version}}", check=False).returncode == 0


def make_image(host: str | None = None, name: str = IMAGE) -> str:
    """Make the small image unless it is there; return its name."""
    environment = {**os.environ, **({"DOCKER_HOST": host} if host else {})}
    subprocess.run(
        [BIN / "make-image", name],
        env=environment,
        check=True,
        timeout=DEADLINE_SECONDS,
        stdout=subprocess.DEVNULL,
    )
    return name


def docker(*arguments: str, host: str | None = None) -> str:
    """Run the docker client; return what it prints. Raises CalledProcessError."""
    return _docker(host, *arguments, check=True).stdout.strip()


def remove_containers(label: str, host: str | None = None) -> None:
    """Remove every container that bears the label `name=value`."""
    found = docker("ps", "-aq", "--filter", f"label={label}", host=host).split()
    if found:
        docker("rm", "-f", "-v", *found, host=host)


def _docker(host: str | None, *arguments: str, check: bool) -> subprocess.CompletedProcess[str]:
    if shutil.which("docker") is None:
        return subprocess.CompletedProcess(arguments, 127, "", "no docker client")
    at = ["-H", host] if host else []
    return subprocess.run(
        ["docker", *at, *arguments], check=check, capture_output=True, text=True, timeout=DEADLINE_SECONDS
    )


class PrivateEngine:
    """A dockerd of one's own, in a network of its own. Containers in it need `network="none"`."""

    def __init__(self, directory: Path, *options: str) -> None:
        self._directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.host = f"unix://{directory}/docker.sock"

    def start(self) -> None:
        """Start it, again after a kill too, and wait until it answers."""
        folder = self._directory
        for left in ("docker.pid", "exec/containerd/containerd.pid"):
            (folder / left).unlink(missing_ok=True)  # a zombie's pid would pass for a running one
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    # With --bridge none it would take away the shared engine's bridge in the same network.
                    *("unshare", "--net", "dockerd"),
                    *("--data-root", folder / "data", "--exec-root", folder / "exec"),
                    *("-H", self.host, "-p", folder / "docker.pid", "--bridge", "none", "--iptables=false"),
                    *self._options,
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not engine_answers(self.host):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"dockerd did not start; see {folder}/log")
            time.sleep(0.1)

    def kill(self) -> None:
        """End it as a crash would."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(DEADLINE_SECONDS)

    def pause(self) -> None:
        """Let it hang."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, with its containers."""
        if self._process is not None and self._process.poll() is None:
            self.resume()
            found = docker("ps", "-aq", host=self.host).split()
            if found:
                docker("rm", "-f", *found, host=self.host)
            self._process.terminate()
            self._process.wait(DEADLINE_SECONDS)
        self._kill_what_is_left()

    def _kill_what_is_left(self) -> None:
        """A killed engine leaves shims, and each of them its container."""
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"{self._directory}/".encode() in (folder / "cmdline").read_bytes():
                    shim = int(folder.name)
                    children = (folder / "task" / folder.name / "children").read_text().split()
                    for pid in (*map(int, children), shim):
                        os.kill(pid, signal.SIGKILL)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def private_engine(*options: str) -> Iterator[PrivateEngine]:
    """Give a started private engine that has the small image."""
    # Containers' own sockets must fit into the kernel's 108 bytes, hence no deep folder.
    directory = Path(tempfile.mkdtemp(prefix="podling-engine-"))
    engine = PrivateEngine(directory, *options)
    try:
        engine.start()
        make_image(engine.host)
        yield engine
    finally:
        engine.close()
        unmount_below(directory)
        shutil.rmtree(directory, ignore_errors=True)


def unmount_below(directory: Path) -> None:
    """A killed engine leaves its mounts; the last made are the first to go."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for point in reversed([point for point in points if point.startswith(f"{directory}/")]):
        subprocess.run(["umount", "--lazy", point], check=True, timeout=DEADLINE_SECONDS)
