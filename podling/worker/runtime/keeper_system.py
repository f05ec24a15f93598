"""What the keeper asks of Linux. Standard library alone; see `keeper`."""

import contextlib
import ctypes
import errno
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

SOCKET = "keeper.sock"
STDOUT, STDERR, TIMES = ".stdout", ".stderr", ".times"
_LONGEST_ADDRESS = 100  # the kernel takes 108 bytes
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_PR_SET_CHILD_SUBREAPER = 36


def socket_address(directory: str) -> str:
    """Return an address for the socket in a directory that fits into the kernel's few bytes.

    A long one goes through a descriptor, which stays open for as long as this process lives.
    """
    path = str(Path(directory, SOCKET))
    if len(os.fsencode(path)) < _LONGEST_ADDRESS:
        return path
    return f"/proc/self/fd/{os.open(directory, os.O_PATH | os.O_DIRECTORY)}/{SOCKET}"


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if there is none, or a dead one."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(b")")[2].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def boot_id() -> str:
    """Return what changes with every start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def become_subreaper() -> None:
    """Let processes whose parents end become this process's children, so that none stays a zombie."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def spawn(spec: dict[str, Any], output: str) -> int:
    """Start a process in a session of its own; its output's files begin with `output`. Raises OSError."""
    if spec.get("uid") is not None:
        return _fork(spec, output)
    os.chdir(spec["cwd"])
    try:
        return _spawn(spec, output)
    finally:
        os.chdir("/")


def _spawn(spec: dict[str, Any], output: str) -> int:
    """The fast way, which cannot change the user; the process begins in this one's directory."""
    program = _program(spec["argv"][0], spec["env"].get("PATH", os.defpath))
    files: list[Any] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, output + STDOUT, _APPEND, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, output + STDERR, _APPEND, 0o600),
    ]
    return os.posix_spawn(
        program, spec["argv"], spec["env"], file_actions=files, setsid=True, setsigdef=_IGNORED_BY_PYTHON
    )


def _program(command: str, path: str) -> str:
    if "/" in command:
        return command
    for folder in path.split(":"):
        program = f"{folder}/{command}"
        if os.access(program, os.X_OK) and not os.path.isdir(program):  # noqa: PTH112
            return program
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command)


def _fork(spec: dict[str, Any], output: str) -> int:
    """The way that changes the user."""
    with open(output + STDOUT, "ab") as out, open(output + STDERR, "ab") as err:  # noqa: PTH123
        process = subprocess.Popen(
            spec["argv"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=spec["env"],
            cwd=spec["cwd"],
            start_new_session=True,
            user=spec["uid"],
            group=spec["gid"],
            extra_groups=spec["groups"],
        )
    process.returncode = 0  # it is the keeper that waits, not this object
    return process.pid


def erase(output: str) -> None:
    """Remove the files of output that there are."""
    for kind in (STDOUT, STDERR, TIMES):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(output + kind)  # noqa: PTH108 done thousands of times a second


def why_not_started(error: OSError, spec: dict[str, Any]) -> str:
    """Return a sentence for what `spawn` raised."""
    if error.filename == spec["cwd"]:
        return f"The working directory {spec['cwd']} cannot be entered: {error.strerror}."
    if error.errno == errno.ENOENT:
        return f"The command {spec['argv'][0]} was not found."
    return f"The command {spec['argv'][0]} could not be started: {error.strerror}."


def next_dead_child() -> int | None:
    """Return a child that has ended and is still to be waited for."""
    try:
        dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return dead.si_pid if dead is not None else None


def wait_for(pid: int) -> int:
    """Take a dead child's exit code; 128 + n for one that signal n ended."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code


def signal_group(pid: int, number: int) -> None:
    """Send a signal to a process group, if there is one."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def writer_of(path: str) -> int | None:
    """Return the pid of a process whose standard output is this file."""
    path = os.path.realpath(path)  # the keeper's own leads through a descriptor
    for entry in os.listdir("/proc"):  # noqa: PTH208 names are enough
        if entry.isdecimal():
            with contextlib.suppress(OSError):  # it has ended, or is another user's
                if str(Path(f"/proc/{entry}/fd/1").readlink()) == path:
                    return int(entry)
    return None


def open_same(pid: int | None, ticks: int | None) -> int | None:
    """Return a descriptor of the process, if it is still the one that started then."""
    if pid is None or ticks is None:
        return None
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if start_ticks(pid) == ticks:
        return pidfd
    os.close(pidfd)
    return None
