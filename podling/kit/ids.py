"""Identifiers that sort by the time of their making."""

import secrets
from collections.abc import Callable
from datetime import datetime


def new_id(now: datetime, draw_bits: Callable[[int], int] = secrets.randbits) -> str:
    """Return a UUID of version 7 (RFC 9562): 48 bits of milliseconds, then random bits."""
    milliseconds = int(now.timestamp() * 1000) & ((1 << 48) - 1)
    random_bits = draw_bits(74)
    number = milliseconds << 80
    number |= 0x7 << 76
    number |= (random_bits >> 62) << 64
    number |= 0b10 << 62
    number |= random_bits & ((1 << 62) - 1)
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
