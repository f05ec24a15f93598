"""What a log says of itself where something of it cannot be had."""

_BEGINS, _ENDS = b"[podling: ", b"; what follows is missing here]\n"

_LONGEST = 1000


def missing_after(reason: str) -> bytes:
    """Return the last line of an output that breaks off for this reason."""
    return _BEGINS + reason.encode() + _ENDS


def split_missing(log: bytes) -> tuple[bytes, str | None]:
    """Return the output without such a last line, and the reason in it; None if there is none."""
    if not log.endswith(_ENDS) or (start := log.rfind(_BEGINS)) < 0:
        return log, None
    reason = log[start + len(_BEGINS) : -len(_ENDS)]
    return (log, None) if b"\n" in reason else (log[:start], reason.decode(errors="replace"))


def hold_back(log: bytes) -> tuple[bytes, bytes]:
    """Split off the end what is such a last line, or may be the beginning of one."""
    start = log.rfind(_BEGINS)
    if start >= 0 and _may_be_last(log[start:]):
        return log[:start], log[start:]
    for length in range(min(len(_BEGINS) - 1, len(log)), 0, -1):
        if log.endswith(_BEGINS[:length]):
            return log[:-length], log[-length:]
    return log, b""


def _may_be_last(text: bytes) -> bool:
    newline = text.find(b"\n")
    return len(text) <= _LONGEST if newline < 0 else newline == len(text) - 1 and text.endswith(_ENDS)


CUT_OFF = missing_after("the worker does not answer")
"""The last line of an output that goes on, or went on, at a worker that cannot be asked."""
