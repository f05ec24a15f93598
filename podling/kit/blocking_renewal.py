"""Keeps what has a lease, on a thread, and tells when it is lost."""

import threading
from collections.abc import Callable

from podling.core.errors import PodlingError
from podling.kit.lease import Lease, monotonic

Signal = threading.Event


class Renewal:
    """As `AsyncRenewal`, on a thread; a `renew` that hangs is not cut off, but `lost` is set in time."""

    def __init__(self, renew: Callable[[], bool], seconds: float, since: float) -> None:
        self.lost = Signal()
        self._renew = renew
        self._lease = Lease(seconds, since)
        self._stopped = threading.Event()
        self._held = True
        self._asking: threading.Thread | None = None
        self._thread = threading.Thread(target=self._run, name="renewal", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Renew no more."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while self._held and self._lease.left > 0:
            if self._stopped.wait(self._lease.pause):
                return
            if self._lease.left > 0:
                self._ask_meanwhile()
        self.lost.set()

    def _ask_meanwhile(self) -> None:
        """Ask on another thread: this one has to be in time."""
        if self._asking is None or not self._asking.is_alive():
            self._asking = threading.Thread(target=self._ask, name="renewing", daemon=True)
            self._asking.start()
        self._asking.join(max(0.0, self._lease.left))

    def _ask(self) -> None:
        asked_at = monotonic()
        try:
            self._held = self._renew()
        except PodlingError:
            self._lease.unanswered()
        else:
            self._lease.renewed(asked_at)
