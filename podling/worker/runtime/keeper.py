"""The keeper: a small process that spawns and waits for a worker's processes, and outlives it.

It uses the standard library alone, so that it starts at once and takes little memory. It listens on
a Unix socket in its directory; requests and answers are JSON, one per line:

    {"n": 1, "do": "list"}                       -> {"n": 1, "processes": [...]}
    {"n": 2, "do": "spawn", "id": …, "task": …, "attempt": …, "container": …, "spec": {…}}
                                                 -> {"n": 2, "process": {…}}
    {"n": 3, "do": "respawn", "id": …}           -> {"n": 3, "process": {…}}
    {"n": 4, "do": "stop", "id": …, "signal": 15, "grace": 10.0}    -> {"n": 4}
    {"n": 5, "do": "forget", "id": …}            -> {"n": 5}
    any of them, refused                         -> {"n": …, "code": …, "error": …}
    without being asked, after each end          -> {"ended": {…}}

Intents to spawn and exits are on disk before it acts on them or tells them: one append and one fsync
for all of a pass. If it is killed, its successor finds what still runs by pid and start time.
"""

import contextlib
import fcntl
import heapq
import os
import selectors
import signal
import sys
import time
from pathlib import Path
from typing import Any

from podling.worker.runtime import keeper_system as system
from podling.worker.runtime.keeper_client import Client
from podling.worker.runtime.keeper_journal import Journal, Record
from podling.worker.runtime.keeper_process import END_FIELDS, LOST, REBOOTED, Process, Spawn, microseconds

LOCK = "keeper.lock"
JOURNAL = "journal"
OUTPUT = "output"
READY = b"ready\n"
TAKEN = 4  # exit status: another keeper serves this directory

SPAWNS_PER_PASS = 16
COMPACT_AFTER = 20_000  # records
RETRY_SECONDS = 1.0

NOT_KNOWN_ANY_MORE = "What is to be run is not known any more, because the keeper was killed."
DISK = "The keeper of the processes cannot write its journal; see the worker's disk."


class Keeper:
    """Everything in one thread: a pass for each piece of news."""

    def __init__(self, directory: str, linger_seconds: float) -> None:
        self._directory = directory
        self._linger = linger_seconds
        self._boot = system.boot_id()
        self._processes: dict[str, Process] = {}
        self._by_pid: dict[int, Process] = {}
        self._spawns: dict[str, Spawn] = {}
        self._untold: list[Record] = []
        self._retry_at: float | None = None
        self._kills: list[tuple[float, int, Process]] = []
        self._alone_since = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._client = Client(self._selector, self._serve)
        Path(directory, OUTPUT).mkdir(mode=0o700, exist_ok=True)
        self._journal = Journal(str(Path(directory, JOURNAL)))

    def open(self) -> None:
        """Take up what an earlier keeper left, and listen."""
        system.become_subreaper()
        self._recover()
        self._listen_for_children()
        self._client.listen(system.socket_address(self._directory))

    def _listen_for_children(self) -> None:
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignored)
        self._selector.register(reader, selectors.EVENT_READ, lambda mask: _drain(reader))

    def run(self) -> None:
        """Serve until there has been nobody to serve for a while."""
        while not self._may_end():
            for key, mask in self._selector.select(self._patience()):
                key.data(mask)
            self._pass()

    def _may_end(self) -> bool:
        busy = self._client.is_there or self._untold or self._spawns
        if busy or any(process.running for process in self._processes.values()):
            self._alone_since = time.monotonic()
            return False
        return time.monotonic() - self._idle_since >= self._linger

    @property
    def _idle_since(self) -> float:
        return max(self._alone_since, self._client.left_at)

    def _patience(self) -> float | None:
        """Return for how many seconds nothing but news is to be done."""
        if self._spawns:
            return 0
        moments = [self._kills[0][0]] if self._kills else []
        if self._retry_at is not None:
            moments.append(self._retry_at)
        if not self._client.is_there:
            moments.append(self._idle_since + self._linger)
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    # One pass: exits and intents become durable together, then exits are told and spawns done

    def _pass(self) -> None:
        self._reap()
        batch = [self._spawns.pop(name) for name in list(self._spawns)[:SPAWNS_PER_PASS]]
        written = self._write([spawn.intent for spawn in batch])
        for spawn in batch:
            if written:
                self._spawn(spawn)
            else:
                self._not_spawned(spawn, "RUNTIME", DISK)
        self._kill_the_late()
        self._client.flush()
        if written and self._journal.records > COMPACT_AFTER + 2 * len(self._processes):
            self._compact()

    def _reap(self) -> None:
        while (pid := system.next_dead_child()) is not None:
            process = self._by_pid.pop(pid, None)
            if process is not None:
                # What it left behind in its group; as long as nobody waited, the number is its own.
                system.signal_group(pid, signal.SIGKILL)
            code = system.wait_for(pid)
            if process is not None:
                self._untold.append(process.ended(code))

    def _write(self, intents: list[Record]) -> bool:
        """Make intents and exits durable, then tell the exits. Return whether it worked."""
        waiting = self._retry_at is not None and time.monotonic() < self._retry_at
        if waiting or not (intents or self._untold):
            return not waiting
        try:
            self._journal.append([*self._untold, *intents])
        except OSError as error:
            _complain(error)
            self._retry_at = time.monotonic() + RETRY_SECONDS
            return False
        told, self._untold, self._retry_at = self._untold, [], None
        for end in told:
            self._tell(end)
        return True

    def _tell(self, end: Record) -> None:
        process = self._processes[end["id"]]
        process.about, process.kill_at = end, None
        self._client.send({"ended": end})
        if process.forget:
            self._erase(end["id"])

    def _spawn(self, spawn: Spawn) -> None:
        process = spawn.process
        assert process.spec is not None
        try:
            pid = system.spawn(process.spec, self._output(spawn.intent["id"]))
        except OSError as error:
            self._not_spawned(spawn, "START", system.why_not_started(error, process.spec))
            return
        facts = {"state": "running", "pid": pid, "ticks": system.start_ticks(pid), "started": microseconds()}
        process.about = {**dict.fromkeys(END_FIELDS), **spawn.intent, **facts}
        self._by_pid[pid] = process
        self._note(process.about)
        for number in spawn.askers:
            self._client.send({"n": number, "process": process.about})
        if process.stop is not None:
            self._stop(process, process.stop)

    def _not_spawned(self, spawn: Spawn, code: str, error: str) -> None:
        process, name = spawn.process, spawn.intent["id"]
        if process.about["state"] == "exited":
            self._note(process.about)  # it is again what it was before the intent
        else:
            self._erase(name)
        for number in spawn.askers:
            self._refuse(number, code, error)

    def _kill_the_late(self) -> None:
        while self._kills and self._kills[0][0] <= time.monotonic():
            moment, _, process = heapq.heappop(self._kills)
            if process.kill_at == moment:
                self._signal(process, signal.SIGKILL)

    def _signal(self, process: Process, number: int) -> None:
        """Send a signal to the process's group, if it is still the same process."""
        pid, ticks = process.about["pid"], process.about["ticks"]
        if process.running and ticks is not None and system.start_ticks(pid) == ticks:
            system.signal_group(pid, number)

    # The worker

    def _serve(self, request: Record) -> None:
        number, name = request["n"], request.get("id", "")
        process = self._processes.get(name)
        match request["do"]:
            case "list":
                known = [process.about for process in self._processes.values() if not process.forget]
                self._client.send({"n": number, "processes": known})
            case "spawn":
                self._asked_to_spawn(number, request, process)
            case "respawn":
                self._asked_to_respawn(number, name, process)
            case "stop":
                if process is not None:
                    self._stop(process, request)
                self._client.send({"n": number})
            case "forget":
                self._forget(name, process)
                self._client.send({"n": number})

    def _asked_to_spawn(self, number: int, request: Record, process: Process | None) -> None:
        if process is None:
            process = self._processes[request["id"]] = Process(request, request["spec"])
            process.about["state"] = "spawning"
            self._spawns[request["id"]] = Spawn(process, self._boot)
        self._answer_when_spawned(number, process)

    def _asked_to_respawn(self, number: int, name: str, process: Process | None) -> None:
        if process is None or process.spec is None:
            self._refuse(number, "START", NOT_KNOWN_ANY_MORE)
            return
        if process.about["state"] == "exited" and name not in self._spawns:
            process.stop = None
            self._spawns[name] = Spawn(process, self._boot)
        self._answer_when_spawned(number, process)

    def _answer_when_spawned(self, number: int, process: Process) -> None:
        spawn = self._spawns.get(process.about["id"])
        if spawn is not None:
            spawn.askers.append(number)
        else:
            self._client.send({"n": number, "process": process.about})

    def _stop(self, process: Process, request: Record) -> None:
        process.stop = request  # of one that is about to be spawned it is the first thing it hears
        if not process.running:
            return
        grace = request["grace"]
        self._signal(process, request["signal"] if grace > 0 else signal.SIGKILL)
        if grace > 0:
            process.kill_at = time.monotonic() + grace
            heapq.heappush(self._kills, (process.kill_at, id(process), process))

    def _forget(self, name: str, process: Process | None) -> None:
        if process is not None and (process.running or name in self._spawns):
            process.forget = True
            self._stop(process, {"grace": 0})
        else:
            self._erase(name)

    def _erase(self, name: str) -> None:
        if self._processes.pop(name, None) is not None:
            self._note({"id": name, "forget": True})
            system.erase(self._output(name))

    def _output(self, name: str) -> str:
        return f"{self._directory}/{OUTPUT}/{name}"

    def _refuse(self, number: int, code: str, error: str) -> None:
        self._client.send({"n": number, "code": code, "error": error})

    # Memory

    def _note(self, record: Record) -> None:
        """Write what only a crash of the machine may take: the process would be gone with it."""
        try:
            self._journal.append([record], durable=False)
        except OSError as error:
            _complain(error)

    def _state(self) -> list[Record]:
        return [process.about for process in self._processes.values()]

    def _compact(self) -> None:
        try:
            self._journal.replace(self._state())
        except OSError as error:
            _complain(error)

    def _recover(self) -> None:
        """Read the journal; take up what still runs, and note what ended unseen."""
        for record in self._journal.read():
            if record.get("forget"):
                self._processes.pop(record["id"], None)
            else:
                self._processes[record["id"]] = Process(record)
        for process in self._processes.values():
            if process.about["state"] == "spawning":
                self._find_by_output(process)
            if process.running:
                self._take_up(process)
        self._compact()

    def _find_by_output(self, process: Process) -> None:
        """The keeper was killed in the middle of a spawn; if there is a process, it has that output."""
        pid = system.writer_of(self._output(process.about["id"]) + system.STDOUT)
        ticks = system.start_ticks(pid) if pid is not None else None
        process.about |= {"state": "running", "pid": pid, "ticks": ticks, "started": process.about["at"]}

    def _take_up(self, process: Process) -> None:
        about = process.about
        if about["boot"] != self._boot:
            process.about = process.ended(None, "UNKNOWN_EXIT", REBOOTED)
        elif (pidfd := system.open_same(about["pid"], about["ticks"])) is not None:
            process.pidfd = pidfd
            self._selector.register(pidfd, selectors.EVENT_READ, lambda mask: self._orphan_ended(process))
        else:
            process.about = process.ended(None, "UNKNOWN_EXIT", LOST)

    def _orphan_ended(self, process: Process) -> None:
        """A process of an earlier keeper has ended; the system's first process waited for it."""
        assert process.pidfd is not None
        self._selector.unregister(process.pidfd)
        os.close(process.pidfd)
        process.pidfd = None
        if system.start_ticks(process.about["pid"]) is None:
            system.signal_group(process.about["pid"], signal.SIGKILL)  # what it left behind
        self._untold.append(process.ended(None, "UNKNOWN_EXIT", LOST))


def _drain(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(descriptor, 4096):
            pass


def _complain(error: OSError) -> None:
    with contextlib.suppress(OSError):  # its log lies on the same full disk
        print("journal:", error, file=sys.stderr, flush=True)  # noqa: T201 it has nothing else


def _ignored(number: int, frame: Any) -> None:
    """A handler, not SIG_IGN: that would be inherited by the processes."""


def main(directory: str, linger_seconds: float) -> int:
    """Keep the processes of a directory; return the exit status."""
    os.chdir("/")
    os.umask(0o022)  # the processes' own; the keeper's files have their modes named
    directory = f"/proc/self/fd/{os.open(directory, os.O_PATH | os.O_DIRECTORY)}"  # it may be moved meanwhile
    lock = os.open(Path(directory, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return TAKEN
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _ignored)  # meant for the worker; it ends by itself
    keeper = Keeper(directory, linger_seconds)
    keeper.open()
    os.write(1, READY)
    os.dup2(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), 1)
    keeper.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2])))
