"""What `podling doctor` finds: each with what it means and what to do."""

from collections.abc import Iterable
from enum import StrEnum

from podling.core.value import value


class Severity(StrEnum):
    PROBLEM = "problem"  # something is lost, stuck or about to fail: act now
    WARNING = "warning"  # it works, and will not for ever
    NOTE = "note"  # worth knowing


_ORDER = tuple(Severity)


@value
class Finding:
    """`subject` is what it is about; `command`, where there is one, does what `remedy` says."""

    severity: Severity
    code: str
    subject: str
    message: str
    meaning: str
    remedy: str
    command: str | None = None


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return each once, the worst first."""
    return tuple(sorted(dict.fromkeys(findings), key=_place))


def _place(finding: Finding) -> tuple[int, str, str]:
    return _ORDER.index(finding.severity), finding.code, finding.subject


def span(seconds: float) -> str:
    """Return a duration in words that a person reads at a glance."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.3g} s"


def size_of(amount: float) -> str:
    """Return bytes in the largest unit that leaves a number of at least one."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.3g} {unit}"
        amount /= 1024
    return f"{amount:.3g} TiB"
