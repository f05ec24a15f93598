"""One use of the command: its settings, its client, and where it writes."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Protocol

from podling.cli.settings import Settings, read_settings
from podling.cli.text import visible
from podling.client import Client
from podling.client.authority import authority_of
from podling.client.call import JsonObject
from podling.core.errors import ConfigurationError, InvalidInput, PodlingError
from podling.core.value import value
from podling.kit.tls import trusting
from podling.wire.errors import error_body

if TYPE_CHECKING:
    from podling.client import AsyncClient


class Database(Protocol):
    """What `podling db`, `backup` and `restore` need. Each returns its report as plain data.

    The schema's is `{server_version, database, schema, version, applied, pending, problems}`, the last
    three lists of texts; a backup's `{made_at, podling, server_version, schema_version, cluster_id, rows}`
    with `bytes` or `live_attempts`; psql's is its exit code. Each raises ConfigurationError for what
    cannot be mended, and StoreUnavailable.
    """

    def install(self, url: str, broker_names: bool) -> JsonObject: ...

    def script(self, broker_names: bool) -> str: ...

    def verify(self, url: str) -> JsonObject: ...

    def migrate(self, url: str) -> JsonObject: ...

    def psql(self, url: str, arguments: Sequence[str]) -> int: ...

    def backup(self, url: str, path: Path, replace: bool) -> JsonObject: ...

    def restore(self, url: str, path: Path, replace: bool) -> JsonObject: ...


@value
class Programs:
    """The parts of other programs that the command uses; given by boot, loaded when called.

    `worker` is what one types to start a worker where this command was started as it was.
    """

    dev: Callable[[Sequence[str]], int | None]
    database: Callable[[], Database]
    read_assignments: Callable[[str], Mapping[str, str]]
    worker: str


_FOR_COMMANDS = {
    "master_unreachable": "{}: `podling dev` or `podling-master` starts one, --master URL says where it is"
}
"""What the command adds to the library's sentences, by their codes."""


class Invocation:
    """`given` collects the global flags, wherever they stand on the command line."""

    def __init__(self, programs: Programs, environment: Mapping[str, str] = os.environ) -> None:
        self.programs = programs
        self.environment = environment
        self.given: dict[str, Any] = {}

    @cached_property
    def settings(self) -> Settings:
        settings = read_settings(self.given, self.environment, self.programs.read_assignments)
        for notice in settings.notices:
            self.note(f"podling: {notice}")
        return settings

    def database_url(self, given: str | None) -> str:
        """Return the address of the database. Raises InvalidInput if there is none."""
        url = given or self.environment.get("DATABASE_URL")
        if not url:
            raise InvalidInput("say which database: --database-url URL, or set DATABASE_URL")
        return url

    @cached_property
    def client(self) -> Client:
        return self.client_of(self.settings.master)

    def client_of(self, url: str, timeout_seconds: float = 30.0) -> Client:
        """Return a client of the masters at `url` with the credential of this invocation."""
        return Client(url, token=self.settings.token, timeout_seconds=timeout_seconds, tls=self._trust)

    def asynchronous_client(self) -> "AsyncClient":
        """Return a client for many requests side by side; close it."""
        from podling.client import AsyncClient

        return AsyncClient(self.settings.master, token=self.settings.token, tls=self._trust)

    @cached_property
    def _trust(self) -> SSLContext | None:
        """Whom connections trust; None, if nothing is said about it: whom this machine trusts."""
        settings = self.settings
        if settings.tls_fingerprint is not None:
            return trusting(authority_of(settings.master, settings.tls_fingerprint))
        return None if settings.tls_ca is None else trusting(settings.tls_ca)

    def find(self, reference: str) -> JsonObject:
        """Return the task that the argument means."""
        return self.client.find(reference)

    def task_id(self, reference: str) -> str:
        return str(self.find(reference)["taskId"])

    def show(self, plain: Any, draw: Callable[[], None]) -> None:
        """Print what the API gave with --json, else let `draw` print it for people."""
        if self.settings.json:
            self.print_json(plain)
        else:
            draw()

    def print_json(self, plain: Any) -> None:
        import json

        sys.stdout.write(json.dumps(plain, indent=2) + "\n")

    def line(self, text: str = "") -> None:
        """Print a line of the answer."""
        sys.stdout.write(visible(text) + "\n")

    def text(self, text: str) -> None:
        """Print what is for another program, as it is."""
        sys.stdout.write(text)

    def note(self, text: str) -> None:
        """Print a remark beside the answer, to standard error."""
        sys.stderr.write(visible(text) + "\n")
        sys.stderr.flush()

    def tell_error(self, error: PodlingError, about: str = "") -> None:
        """Print an error to standard error: as the API's object with --json, else as its sentence."""
        if self.wants("json"):
            import json

            told = {"about": about} if about else {}
            sys.stderr.write(json.dumps(error_body(error) | told) + "\n")
            return
        message = _FOR_COMMANDS.get(error.code, "{}").format(error.message)
        self.note(f"podling: {about}: {message}" if about else f"podling: {message}")

    def wants(self, name: str) -> bool:
        """Whether the setting `json` or `verbose` is on, also when the others cannot be read."""
        try:
            return bool(getattr(self.settings, name))
        except ConfigurationError:
            return bool(self.given.get(name))

    def detail(self, text: str) -> None:
        """Print a remark with --verbose only."""
        if self.settings.verbose:
            self.note(text)
