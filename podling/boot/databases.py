"""Several databases in one master, each a cluster of its own behind its name."""

import json
import re
from collections.abc import Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from podling.boot import parsers
from podling.core.value import value

if TYPE_CHECKING:
    from podling.boot.settings import MasterSettings

MOST_DATABASES = 32
MOST_QUEUES = 1000
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_TAKEN = frozenset({"api", "docs", "health", "metrics", "ready"})  # paths at the root
_DAY = 86400.0


@value
class Database:
    """`queue_count`: queues `1` to that number are declared. Durations are in seconds."""

    name: str
    url: str = field(repr=False)
    most_connections: int = 25
    connection_seconds: float = 300.0
    idle_seconds: float = 600.0
    queue_count: int = 4

    @property
    def ages(self) -> dict[str, float]:
        """Return what the store is told of its connections' ages."""
        return {"connection_seconds": self.connection_seconds, "idle_seconds": self.idle_seconds}

    @property
    def queues(self) -> tuple[str, ...]:
        return tuple(str(number) for number in range(1, self.queue_count + 1))


def databases(given: str) -> tuple[Database, ...]:
    """Read a JSON list of databases. Messages name a database and a key, and never repeat a password."""
    try:
        plain = json.loads(given)
    except ValueError as error:
        raise ValueError(f"it is no JSON ({error}); write a list such as {_EXAMPLE}") from None
    if not isinstance(plain, list) or not 1 <= len(plain) <= MOST_DATABASES:
        raise ValueError(f"write a list of 1 to {MOST_DATABASES} databases, such as {_EXAMPLE}")
    found = tuple(_database(number, item) for number, item in enumerate(plain, start=1))
    for name in (names := [item.name for item in found]):
        if names.count(name) > 1:
            raise ValueError(f"two databases are named {name!r}; each needs a name of its own")
    return found


def each(settings: "MasterSettings") -> Mapping[str, "MasterSettings"]:
    """Return the settings of each database's master by name; of the only one, by an empty name."""
    return {item.name: _for(settings, item) for item in settings.databases} or {"": settings}


def _for(settings: "MasterSettings", database: Database) -> "MasterSettings":
    return replace(
        settings,
        store_type="postgres",
        database=database,
        database_url=database.url,
        database_pool_size=database.most_connections,
        data_dir=settings.data_dir / database.name,
        advertise_url=f"{settings.advertised(settings.port)}/{database.name}",
    )


_EXAMPLE = '[{"name": "shop", "host": "localhost", "database": "shop", "user": "shop"}]'
_ADDRESS = ("host", "port", "database", "user", "password", "sslmode")
_READERS = {
    "max_open_conns": ("most_connections", parsers.count(3, 500)),
    "conn_max_lifetime": ("connection_seconds", parsers.seconds(1, _DAY)),
    "conn_max_idle_time": ("idle_seconds", parsers.seconds(1, _DAY)),
    "queue_count": ("queue_count", parsers.count(0, MOST_QUEUES)),
}
_MEANS_NOTHING = ("max_idle_conns",)  # idle connections are closed by their age, not by their number
_KEYS = ("name", "url", *_ADDRESS, *_READERS, *_MEANS_NOTHING)


def _database(number: int, given: Any) -> Database:
    if not isinstance(given, dict):
        raise ValueError(f"database {number} is no object; write it such as {_EXAMPLE}")
    name = given.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _TAKEN:
        raise ValueError(
            f"database {number} needs a name of small letters, digits and -, for its address; "
            f"{', '.join(sorted(_TAKEN))} are taken"
        )
    try:
        return Database(name=name, url=_url(given), **_numbers(given))
    except ValueError as error:
        raise ValueError(f"database {name}: {error}") from None


def _numbers(given: Mapping[str, Any]) -> dict[str, Any]:
    for key in given:
        if key not in _KEYS:
            raise ValueError(f"{str(key)[:80]!r} is not known; it may have {', '.join(_KEYS)}")
    read = {}
    for key, (name, parse) in _READERS.items():
        if given.get(key) is not None:
            try:
                read[name] = parse(str(given[key]))
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from None
    return read


def _url(given: Mapping[str, Any]) -> str:
    parts = {key: str(given[key]) for key in _ADDRESS if given.get(key) is not None}
    if "url" in given:
        if parts:
            raise ValueError(f"url says it all, so {', '.join(parts)} cannot stand beside it")
        return parsers.database_url(str(given["url"]))
    for key in ("database", "user"):
        if not parts.get(key):
            raise ValueError(f"it needs {key}, or a url that says it all")
    port = parsers.port(parts.get("port", "5432"))
    login = quote(parts["user"], safe="")
    if "password" in parts:
        login += ":" + quote(parts["password"], safe="")
    host = quote(parts.get("host", "localhost"), safe=".:[]")
    query = "?" + urlencode({"sslmode": parts["sslmode"]}) if "sslmode" in parts else ""
    return f"postgres://{login}@{host}:{port}/{quote(parts['database'], safe='')}{query}"
