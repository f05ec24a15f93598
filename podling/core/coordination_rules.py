"""What keys, times and values of coordination may be. Each check raises InvalidInput."""

import json
from typing import Any

from podling.core.errors import InvalidInput, TooLarge
from podling.core.fields import MAX_NAME_CHARACTERS, check_number, check_storable, check_text

MOST_KEY_CHARACTERS = 512
MOST_PREFIX_CHARACTERS = 128
MOST_VALUE_BYTES = 1024**2
LEAST_SECONDS = 0.001
MOST_SECONDS = 366 * 86400.0
MOST_WAIT_SECONDS = 86400.0
MOST_COUNT = 2**31 - 1
MOST_NUMBER = 2**63 - 1

TASK_KEYS = "tasks:"
"""What keys begin with that programs inside tasks may use; whoever may use the others may use these too."""

DEFAULT_LOCK_SECONDS = 30.0
DEFAULT_MAX_FAILURES = 5
DEFAULT_COOL_DOWN_SECONDS = 30.0
DEFAULT_CLAIM_SECONDS = 3600.0


def check_key(key: object, field: str = "key") -> str:
    """Return the key of a lock, a breaker, an entry of the cache or a claim."""
    if not isinstance(key, str):
        raise InvalidInput.field(field, "must be a string")
    check_text(field, key, MOST_KEY_CHARACTERS)
    return key


def check_prefix(prefix: str) -> None:
    if prefix:
        check_text("prefix", prefix, MOST_PREFIX_CHARACTERS)


def check_pattern_text(pattern: str, field: str = "pattern") -> None:
    check_storable(field, pattern, 2 * MOST_KEY_CHARACTERS)


def check_owner(owner: object, field: str = "owner") -> str:
    if not isinstance(owner, str):
        raise InvalidInput.field(field, "must be a string")
    check_text(field, owner, MAX_NAME_CHARACTERS)
    return owner


def check_ttl(seconds: object, field: str = "ttlSeconds") -> float:
    """Return a time to live: from a millisecond to a year."""
    return _seconds(seconds, field, LEAST_SECONDS, MOST_SECONDS)


def check_wait(seconds: object, field: str = "waitSeconds", most: float = MOST_WAIT_SECONDS) -> float:
    return _seconds(seconds, field, 0, most)


def _seconds(seconds: object, field: str, least: float, most: float) -> float:
    given = _number(seconds, field)
    check_number(field, given, least, most, unit=" seconds")
    return float(given)


def _number(item: object, field: str) -> float:
    if isinstance(item, bool) or not isinstance(item, int | float):
        raise InvalidInput.field(field, "must be a number")
    return item


def check_whole(item: object, field: str, least: int, most: int) -> int:
    """Return a whole number of the given range."""
    if isinstance(item, bool) or not isinstance(item, int):
        raise InvalidInput.field(field, "must be a whole number")
    check_number(field, item, least, most)
    return item


def check_token(token: object, field: str = "token") -> int:
    return check_whole(token, field, 1, MOST_NUMBER)


def check_progress(progress: object, field: str = "progress") -> float | None:
    if progress is None:
        return None
    given = _number(progress, field)
    check_number(field, given, 0, 100)
    return float(given)


def check_estimate(seconds: object, field: str = "estimatedSecondsRemaining") -> float | None:
    return None if seconds is None else _seconds(seconds, field, 0, 10 * MOST_SECONDS)


def to_text(item: Any, field: str = "value") -> str:
    """Return a value as JSON. Raises TooLarge above 1 MiB, InvalidInput for what JSON cannot say."""
    try:
        text = json.dumps(item, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        size = len(text) if text.isascii() else len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput.field(field, f"cannot be written as JSON: {error}") from None
    if size > MOST_VALUE_BYTES:
        problem = f"{field}: is {size} bytes of JSON, and may be {MOST_VALUE_BYTES} at most"
        raise TooLarge(problem, code="value_too_large", details={"field": field, "bytes": size})
    return text


def from_text(text: str) -> Any:
    """Return the value that `to_text` has written."""
    return json.loads(text)
