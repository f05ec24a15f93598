"""How much memory a master needs: idle, for each session (idle, and with a task), for each pending task."""

from bench.children import keep_on, resident_bytes, until
from bench.cluster import lone_master
from bench.report import Result
from bench.steady import farm, fill, watched
from bench.trial import Trial

SESSIONS = 2_000
PENDING = 200_000
SETTLE_SHARE = 1 / 4
CONNECT_SECONDS = 300.0
SETTINGS = f"{SESSIONS} sessions, then {PENDING} tasks pending"


async def run(trial: Trial) -> Result:
    """Return `idle_mb`, `idle_session_kb`, `session_kb` and `pending_bytes` (of each)."""
    sessions, pending = trial.sized(SESSIONS), trial.sized(PENDING)
    async with lone_master(trial.store) as master, watched(master) as used:
        pid, settle = master.program.pid, trial.seconds * SETTLE_SHARE

        async def nothing() -> None:
            pass

        await keep_on(settle, nothing)
        idle = resident_bytes(pid)
        async with farm(master, sessions, 1, "--run-seconds", "inf") as nodes:

            async def check() -> None:
                nodes.check()

            def connected() -> bool:
                return nodes.told("connected") >= sessions

            await until(connected, CONNECT_SECONDS, check, f"{sessions} sessions")
            await keep_on(settle, check)
            connected_only = resident_bytes(pid)
            await fill(master, sessions, step=check)
            await keep_on(settle, check)
            busy = resident_bytes(pid)
            await fill(master, pending, step=check)
            await keep_on(settle, check)
            full = resident_bytes(pid)
    return {
        "idle_mb": idle / 2**20,
        "idle_session_kb": (connected_only - idle) / sessions / 2**10,
        "session_kb": (busy - idle) / sessions / 2**10,
        "pending_bytes": (full - busy) / pending,
    } | used
