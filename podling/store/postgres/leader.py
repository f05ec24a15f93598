"""The fence of every leader's write: the epoch, held for as long as the transaction lasts."""

from podling.core.errors import StaleEpoch
from podling.store.postgres.pool import Connection
from podling.store.postgres.queries import load

LEAST_STATEMENT_MILLISECONDS = 1000

_SQL = load("masters")


class LeaderGuard:
    """Checks epochs, and bounds a leader's waits by `timeout_seconds`, a quarter of the lease.

    An epoch says who leads, since every takeover gives out a new one to one master; so the holder
    need not be compared, only that there is one: who has resigned leads no more.

    A leader that hangs inside a transaction would block the takeover. A statement that works, and
    does not wait, may take twice as long.
    """

    def __init__(self, timeout_seconds: float) -> None:
        milliseconds = max(1, int(timeout_seconds * 1000))
        self._settings = (
            f"SET LOCAL lock_timeout = {milliseconds}",
            f"SET LOCAL idle_in_transaction_session_timeout = {milliseconds}",
            f"SET LOCAL statement_timeout = {max(milliseconds * 2, LEAST_STATEMENT_MILLISECONDS)}",
        )

    def settings(self, epoch: int | None) -> tuple[str, ...]:
        """Return the commands that begin a transaction under this epoch (None: not a leader's)."""
        return () if epoch is None else self._settings

    async def check(self, connection: Connection, epoch: int | None) -> None:
        """Hold the epoch until the transaction ends. Raises StaleEpoch if it does not lead."""
        if epoch is None:
            return
        row = await connection.fetchrow(_SQL.hold_epoch)
        if row is None or row["epoch"] != epoch or row["holder"] is None:
            raise StaleEpoch(f"epoch {epoch} no longer leads", details={"epoch": epoch})
