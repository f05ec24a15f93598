"""What may stand in DATABASE_URL, checked before the driver tells a fault in riddles."""

import re
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, parse_qsl, urlencode, urlsplit

from podling.core.errors import ConfigurationError

SSL_MODES = ("disable", "require", "verify-ca", "verify-full", "prefer", "allow")
"""The first four are for people; without one the driver prefers TLS and does without where there is none."""

_EXAMPLE = "write postgres://user:password@host:5432/database?sslmode=disable"
_MOST_SECONDS = 3600
_PARAMETERS = frozenset(
    "application_name connect_timeout database dbname gsslib host krbsrvname options passfile password port"
    " search_path service servicefile ssl_max_protocol_version ssl_min_protocol_version sslcert sslcrl sslkey"
    " sslmode sslnegotiation sslpassword sslrootcert target_session_attrs user".split()
)


def shown(dsn: str) -> str:
    """Return host, port and database; neither user nor password, however the address is broken."""
    try:
        parts = urlsplit(dsn)
    except ValueError:
        return "DATABASE_URL"
    if _breaks_off(parts) or parts.scheme not in ("postgres", "postgresql"):
        return "DATABASE_URL"
    hosts = parts.netloc.rpartition("@")[2] or parse_qs(parts.query).get("host", ["localhost"])[0]
    return f"{hosts}{parts.path}"


def check_address(dsn: str) -> None:
    """Raise ConfigurationError with what to write instead."""
    if not dsn.startswith(("postgres://", "postgresql://")):
        raise ConfigurationError(f"DATABASE_URL must begin with postgres:// (or be embedded:DIR): {_EXAMPLE}")
    try:
        parts = urlsplit(dsn)
    except ValueError:
        raise ConfigurationError(
            "DATABASE_URL is not a valid address: [ and ] stand around an IPv6 address only, and in a "
            f"password they are %5B and %5D; {_EXAMPLE}"
        ) from None
    if _breaks_off(parts):
        raise ConfigurationError(
            "a password in DATABASE_URL holds a character that ends it: write %2F for /, %3F for ?, "
            "%23 for # and %40 for @"
        )
    _check_ports(parts.netloc.rpartition("@")[2])
    _check_parameters(parts.query)


def _breaks_off(parts: SplitResult) -> bool:
    """Whether a password seems to go on where the address takes it for something else."""
    after = parts.path + parts.query + parts.fragment
    return "@" in after or bool(parts.fragment) or parts.netloc.count("@") > 1


def _check_ports(hosts: str) -> None:
    for host in hosts.split(","):
        _, colon, port = host.rpartition("]")[2].rpartition(":")
        # What stands there may be half a password, and is not repeated.
        if colon and not (re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) and 1 <= int(port) <= 65535):
            raise ConfigurationError(
                f"DATABASE_URL is not a valid address: its port is no number from 1 to 65535; {_EXAMPLE}"
            )


def _check_parameters(query: str) -> None:
    given = parse_qs(query, keep_blank_values=True)
    for name in given:
        if name not in _PARAMETERS:
            raise ConfigurationError(
                f"DATABASE_URL has a parameter that is not known, {name[:40]!r}: leave it out; known are "
                f"{', '.join(sorted(_PARAMETERS))}"
            )
    roots = given.get("sslrootcert", ["system"])[-1]
    if roots != "system" and not Path(roots).exists():
        raise ConfigurationError(f"the file {roots} that sslrootcert in DATABASE_URL names is not there")
    if given.get("sslmode", ["prefer"])[-1] not in SSL_MODES:
        raise ConfigurationError(
            "sslmode in DATABASE_URL is unknown: use disable, require, verify-ca or verify-full"
        )
    seconds = given.get("connect_timeout", ["1"])[-1]
    if not (re.fullmatch(r"[0-9]{1,4}", seconds, re.ASCII) and 1 <= int(seconds) <= _MOST_SECONDS):
        raise ConfigurationError(
            f"connect_timeout in DATABASE_URL must be a whole number of seconds from 1 to {_MOST_SECONDS}"
        )


def without_timeout(dsn: str) -> tuple[str, float | None]:
    """Return the address without connect_timeout, which the driver would give to the server; and it."""
    parts = urlsplit(dsn)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    seconds = [float(text) for name, text in pairs if name == "connect_timeout"]
    if not seconds:
        return dsn, None
    rest = urlencode([pair for pair in pairs if pair[0] != "connect_timeout"])
    return parts._replace(query=rest).geturl(), seconds[-1]
