"""What `podling demo` puts on a master: a small shop's queues, schedules and tasks, some in trouble."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from podling.cli.text import rfc3339

LABEL, MARK = "demo", "podling"
MAIL, REPORTS, SYNC = "demo-mail", "demo-reports", "demo-sync"
QUEUES: Mapping[str, Mapping[str, Any]] = {
    MAIL: {"maxInFlight": 5, "maxPerMinute": 60},
    REPORTS: {"maxInFlight": 2, "throttleDelaySeconds": 1.0},
    SYNC: {"maxPerKey": 1},
}
PAUSED = SYNC
_PEOPLE = ("ada", "grace", "edsger", "barbara", "donald", "frances")

Spec = dict[str, Any]


def schedules() -> Iterator[Spec]:
    """Yield what runs by the clock; paused, so that nothing starts that nobody has an image for."""
    for name, cron, zone, queue in (
        ("demo-nightly-report", "0 3 * * *", "Europe/Berlin", REPORTS),
        ("demo-hourly-sync", "@hourly", "UTC", SYNC),
        ("demo-monday-mail", "30 8 * * 1", "America/New_York", MAIL),
    ):
        task = {"name": name, "image": "shop/jobs:1", "queue": queue, "labels": {LABEL: MARK}}
        yield {"name": name, "cron": cron, "timeZone": zone, "paused": True, "task": task}


def tasks(shell: Mapping[str, Any] | None, now: datetime) -> Iterator[Spec]:
    """Yield the tasks; those that run something only if there is a `shell` to run it."""
    for spec in (*_waiting(now), *_hopeless(), *(_running(shell) if shell is not None else ())):
        yield {**spec, "labels": {LABEL: MARK}}


def _waiting(now: datetime) -> Iterator[Spec]:
    """Yield what waits: for a worker with the handler, its time, its queue, or a larger node."""
    for number, person in enumerate(_PEOPLE):
        payload = {"to": f"{person}@example.org", "template": "welcome"}
        yield {
            "name": f"demo-mail-to-{person}",
            "runtime": "python",
            "handler": "shop.mail",
            "payload": payload,
            "queue": MAIL,
            "priority": number % 3,
        }
    for hours in (2, 24):
        at = rfc3339(now.astimezone(UTC) + timedelta(hours=hours))
        yield _container(f"demo-report-in-{hours}-hours", REPORTS) | {"runAt": at}
    for customer in ("north", "south"):
        yield _container(f"demo-sync-{customer}", SYNC) | {"concurrencyKey": f"customer-{customer}"}
    yield _container("demo-render-the-catalogue", REPORTS) | {"resources": {"requests": {"cpu": "512"}}}


def _hopeless() -> Iterator[Spec]:
    """Yield what becomes a dead letter without any worker."""
    printer = {"nodeSelector": {"printer": "labels"}}
    for number in (1, 2):
        yield _container(f"demo-print-label-{number}", MAIL) | {
            "queueTimeoutSeconds": 1,
            "placement": printer,
        }
    yield _container("demo-quarterly-report", REPORTS) | {"deadlineSeconds": 2, "placement": printer}


def _running(shell: Mapping[str, Any]) -> Iterator[Spec]:
    """Yield what a worker with a shell runs: well, badly, and badly more than once."""
    scripts: dict[str, tuple[str, Spec]] = {
        "demo-export-orders": ("echo 1204 orders written", {}),
        "demo-export-stock": ("echo 318 items written", {}),
        "demo-import-prices": (
            "echo 'prices.csv: line 17 has no price' >&2; exit 65",
            {"maxAttempts": 1},
        ),
        "demo-charge-cards": (
            "echo 'the bank does not answer' >&2; exit 75",
            {"maxAttempts": 3, "retry": {"baseSeconds": 1, "jitter": 0}},
        ),
    }
    for name, (script, more) in scripts.items():
        yield {"name": name, "queue": REPORTS, "command": ["/bin/sh", "-c", script], **shell, **more}


def _container(name: str, queue: str) -> Spec:
    return {"name": name, "image": "shop/jobs:1", "queue": queue}
