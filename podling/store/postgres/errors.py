"""The driver's errors, told in Podling's words. A password never gets into a message."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from podling.core.errors import ConfigurationError, InvalidInput, PodlingError, StoreUnavailable

_LOST_CONNECTION = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InternalClientError,
    # What the driver says when a connection is used that has been lost a moment ago.
    asyncpg.InterfaceError,
)

REPEATABLE = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""The transaction was rolled back for the sake of another; the same again may pass."""


def lost_connection(error: BaseException) -> bool:
    """Whether the connection has gone: nobody knows what the server made of the last command."""
    # A value or an address that the driver refuses is a ValueError beside; a wait that ended is no loss.
    return isinstance(error, _LOST_CONNECTION) and not isinstance(error, ValueError | TimeoutError)


DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)

_PLAIN = {
    asyncpg.DiskFullError: "its disk is full; free some space there",
    asyncpg.OutOfMemoryError: "it is out of memory",
    asyncpg.TooManyConnectionsError: "it takes no more connections (max_connections)",
    asyncpg.TargetServerAttributeNotMatched: "no host of its address is what target_session_attrs asks for",
    asyncpg.ReadOnlySQLTransactionError: "it is a standby that takes no writes",
}


@contextmanager
def translated() -> Iterator[None]:
    """Raise StoreUnavailable (or InvalidInput for a value no column can hold) for a driver's error."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise _runtime_error(error) from None


def _runtime_error(error: BaseException) -> PodlingError:
    if isinstance(error, asyncpg.DataError | ValueError):
        return InvalidInput("a value is out of the range that the database can keep")
    if isinstance(error, asyncpg.ProgramLimitExceededError):
        return InvalidInput("a value is larger than the database can keep or index")
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return InvalidInput(f"the database refused a row by its rule {error.constraint_name}")
    return StoreUnavailable(f"the database is not available: {reason(error)}")


def reason(error: BaseException) -> str:
    """Return a short cause without addresses, statements or secrets."""
    if isinstance(error, TimeoutError | asyncpg.QueryCanceledError):
        return "it did not answer in time"
    if isinstance(error, asyncpg.CannotConnectNowError):
        return "it is starting up or shutting down"
    for kind, sentence in _PLAIN.items():
        if isinstance(error, kind):
            return sentence
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return "nothing listens at its address"
    if lost_connection(error):
        return "the connection was lost"
    if isinstance(error, asyncpg.PostgresError):
        return f"{type(error).__name__} ({error.sqlstate})"
    return type(error).__name__


@contextmanager
def translated_at_open(where: str) -> Iterator[None]:
    """Raise ConfigurationError with what to do, for a fault that a person has to mend.

    `where` names the server without its password.
    """
    try:
        yield
    except (*DRIVER_ERRORS, ValueError) as error:
        raise _open_error(error, where) from None


def _open_error(error: BaseException, where: str) -> PodlingError:
    sentence = _advice(error, where)
    return ConfigurationError(sentence) if sentence else _runtime_error(error)


def _advice(error: BaseException, where: str) -> str | None:
    """Return the sentence for a person; None if it is not a matter of configuration."""
    match error:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return f"the database at {where} refused the login: check user and password in DATABASE_URL"
        case asyncpg.ProtocolViolationError() if "startup parameter" in str(error):
            return f"a transaction pooler stands at {where}: give DATABASE_DIRECT_URL an address past it"
        case asyncpg.InvalidCatalogNameError():
            return f"the database of {where} does not exist: run CREATE DATABASE, or correct the name"
        case asyncpg.InsufficientPrivilegeError():
            return (
                f"the login of {where} may not create tables: "
                "GRANT ALL PRIVILEGES ON DATABASE … TO the login, or make it the owner"
            )
        case ssl.SSLCertVerificationError():
            return f"the certificate of {where} cannot be verified: check sslrootcert, or sslmode=require"
        case ConnectionRefusedError():
            return f"nothing listens at {where} (connection refused): start it or correct DATABASE_URL"
        case FileNotFoundError():
            return f"no socket at {where}: start PostgreSQL or correct DATABASE_URL"
        case ConnectionError() if "SSL" in str(error):
            return f"the server at {where} does not speak TLS: use sslmode=disable, or turn TLS on there"
        case OSError() if not isinstance(error, TimeoutError):
            return f"{where} cannot be reached ({error.strerror or 'unknown host'}): correct DATABASE_URL"
        case TimeoutError():
            return f"{where} does not answer: check address and firewall, or correct DATABASE_URL"
        case asyncpg.InterfaceError() | ValueError():
            return (
                "DATABASE_URL is not a valid address: write "
                "postgres://user:password@host:5432/database?sslmode=disable"
            )
    return None
