"""Quantities as people write them: `500m` of CPU, `256Mi` of memory."""

import re
from fractions import Fraction

MAX_AMOUNT = 2**53  # exact in every JSON reader

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_DECIMAL = {"K": 10**3, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_MEMORY = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,9})?)(Ki|Mi|Gi|Ti|K|k|M|G|T)?", re.ASCII)
_CPU = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,9})?)(m)?", re.ASCII)


def parse_cpu(quantity: int | float | str) -> int:
    """Return millicores. A number is millicores already; `"2"` is two cores, `"500m"` half a core.

    Raises ValueError with what is wrong.
    """
    if isinstance(quantity, str):
        match = _CPU.fullmatch(quantity)
        if not match:
            raise ValueError(f"{quantity[:40]!r} is not an amount of CPU; write 500m, 2 or 2.5")
        scale = 1 if match[2] else 1000
        return _whole(Fraction(match[1]) * scale, "CPU in millicores")
    return _number(quantity, "CPU in millicores")


def parse_memory(quantity: int | float | str) -> int:
    """Return bytes. A number is bytes already; suffixes are Ki Mi Gi Ti and K M G T.

    Raises ValueError with what is wrong.
    """
    if isinstance(quantity, str):
        match = _MEMORY.fullmatch(quantity)
        if not match:
            raise ValueError(f"{quantity[:40]!r} is not an amount of memory; write 256Mi, 1Gi or 512M")
        scale = (_BINARY | _DECIMAL).get(match[2] or "", 1)
        return _whole(Fraction(match[1]) * scale, "memory in bytes")
    return _number(quantity, "memory in bytes")


def parse_count(quantity: int | float | str) -> int:
    """Return the count of any other resource. Raises ValueError with what is wrong."""
    if isinstance(quantity, str):
        if not re.fullmatch(r"[0-9]{1,16}", quantity, re.ASCII):
            raise ValueError(f"{quantity[:40]!r} is not a whole number")
        return _whole(Fraction(quantity), "a count")
    return _number(quantity, "a count")


def parse_resource(name: str, quantity: int | float | str) -> int:
    """Parse an amount of the resource `name` by the rule for that name."""
    parsers = {"cpu": parse_cpu, "memory": parse_memory}
    return parsers.get(name, parse_count)(quantity)


def _number(quantity: int | float, what: str) -> int:
    if isinstance(quantity, bool) or quantity % 1 != 0:  # also true of infinity and NaN
        raise ValueError(f"{what} must be a whole number")
    return _whole(Fraction(int(quantity)), what)


def _whole(amount: Fraction, what: str) -> int:
    if amount < 0:
        raise ValueError(f"{what} must not be negative")
    if amount > MAX_AMOUNT:
        raise ValueError(f"{what} must be at most 2^53")
    if amount.denominator != 1:
        raise ValueError(f"{what} must come to a whole number")
    return int(amount)
