"""Readers of single settings. Each raises ValueError with what is wrong and how to write it."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from podling.core.errors import InvalidInput
from podling.core.quantity import parse_cpu, parse_memory
from podling.core.statements import check_database_name

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+|\d+(?:\.\d+)?", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62})", re.ASCII)
_LABEL_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,126})", re.ASCII)


def text(given: str) -> str:
    return given


def switch(given: str) -> bool:
    answers = {"true": True, "1": True, "yes": True, "on": True}
    answers |= {"false": False, "0": False, "no": False, "off": False}
    if given.lower() not in answers:
        raise ValueError(f"{given!r} is neither true nor false")
    return answers[given.lower()]


def port(given: str) -> int:
    """A TCP port; 0 lets the system choose a free one."""
    if not re.fullmatch(r"[0-9]{1,5}", given, re.ASCII) or int(given) > 65535:
        raise ValueError(f"{given!r} is not a port; write a whole number from 0 to 65535")
    return int(given)


def count(least: int, most: int) -> Callable[[str], int]:
    def parse(given: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", given, re.ASCII) or not least <= int(given) <= most:
            raise ValueError(f"{given!r} is not a whole number from {least} to {most}")
        return int(given)

    return parse


def seconds(least: float, most: float) -> Callable[[str], float]:
    """A duration: a number of seconds, or with units as in `500ms`, `5s`, `1m30s`."""

    def parse(given: str) -> float:
        if not _DURATION.fullmatch(given):
            raise ValueError(f"{given!r} is not a duration; write seconds, or 500ms, 5s, 1m30s")
        duration = sum(float(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(given))
        if not least <= duration <= most:
            raise ValueError(f"{given!r} is out of range; write {least:g} to {most:g} seconds")
        return duration

    return parse


def days(given: str) -> float:
    """A number of days, also a part of one: `30`, `0.5`."""
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,6})?", given, re.ASCII) or not 0 < float(given) <= 36500:
        raise ValueError(f"{given!r} is not a number of days; write 30, or 0.5 for half a day")
    return float(given)


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(given: str) -> str:
        if given.lower() not in choices:
            raise ValueError(f"{given!r} is not one of {', '.join(choices)}")
        return given.lower()

    return parse


def module(given: str) -> str:
    """A module's dotted name."""
    if not all(part.isidentifier() for part in given.split(".")):
        raise ValueError(f"{given[:80]!r} is not the name of a module, such as shop.tasks")
    return given


def name(given: str) -> str:
    """A node's name or id."""
    if not _NAME.fullmatch(given):
        raise ValueError(f"{given[:80]!r} may hold letters, digits and . _ - only, 63 at most")
    return given


def path(given: str) -> Path:
    if "\0" in given:
        raise ValueError("a path cannot hold a NUL character")
    return Path(given).expanduser()


def cpu(given: str) -> int:
    """Millicores: `500m`, `2`, `2.5`."""
    return _positive(parse_cpu(given), given)


def memory(given: str) -> int:
    """Bytes: `512Mi`, `8Gi`, `2G`."""
    return _positive(parse_memory(given), given)


def _positive(amount: int, given: str) -> int:
    if amount <= 0:
        raise ValueError(f"{given!r} must be more than zero")
    return amount


def resource(given: str) -> tuple[str, int]:
    """Read `gpu=2`: a countable resource that is neither CPU nor memory nor slots."""
    name, _, amount = given.partition("=")
    if not _LABEL_NAME.fullmatch(name) or name in ("cpu", "memory", "slots"):
        raise ValueError("must be NAME=COUNT such as gpu=2; CPU, memory and slots have flags of their own")
    return name, count(0, 10**9 - 1)(amount)


def gpu(given: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9:/_.-]{0,127}", given, re.ASCII):
        raise ValueError("write the number or the id that the driver shows, such as 0 or GPU-8932f937")
    return given


def label(given: str) -> tuple[str, str]:
    key, equals, content = given.partition("=")
    if not equals or not _LABEL_NAME.fullmatch(key) or len(content) > 256 or not content.isprintable():
        raise ValueError(f"{given[:80]!r} is not a label; write key=value, such as zone=a")
    return key, content


def http_url(given: str) -> str:
    """The address of a master, without the slash at its end."""
    try:
        parts = urlsplit(given)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        is_address = False
    if not is_address or "@" in given or "?" in given:
        raise ValueError(f"{given[:80]!r} is not an address; write http://HOST:8070")
    return given.rstrip("/")


def database_url(given: str) -> str:
    """A PostgreSQL address. It is not repeated in the message, for it may hold a password."""
    scheme, colon, rest = given.partition(":")
    if scheme == "embedded" and colon and rest:
        return given
    if scheme not in ("postgres", "postgresql") or not rest.startswith("//"):
        raise ValueError("write postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=disable or embedded:DIR")
    return given


def server_url(given: str) -> str:
    """The address of a PostgreSQL server that somebody runs."""
    if not given.startswith(("postgres://", "postgresql://")):
        raise ValueError("write postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=disable")
    return given


def named_database(given: str) -> tuple[str, str]:
    key, equals, url = given.partition("=")
    try:
        check_database_name("NAME", key)
    except InvalidInput:
        equals = ""
    if not equals:
        raise ValueError("write NAME=postgres://USER:PASSWORD@HOST:5432/DATABASE")
    return key, database_url(url)
