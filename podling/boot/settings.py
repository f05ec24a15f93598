"""The settings of the master and of the worker, read once and frozen.

Each is a flag, an environment variable of the same name, a line in a `--config` file, or a line in
`.env` of the working directory; the first of them counts. The tables below are the whole list.
"""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from podling.boot import alerts, parsers
from podling.boot.databases import Database
from podling.boot.options import Faults, Program, read_options
from podling.boot.options import option as _option
from podling.boot.statements import databases_of
from podling.boot.store_settings import STORE, check_databases, check_store, store_notices
from podling.core.access import NEEDS_TOKEN, is_loopback
from podling.core.errors import ConfigurationError
from podling.core.joining import JoinToken
from podling.core.permissions import Policy
from podling.core.spec import GPU, Runtime
from podling.core.value import value
from podling.kit.token_file import readable_by_others

LEAST_TOKEN_LENGTH = 16
DEFAULT_MASTER_URL = "http://127.0.0.1:8070"


@value
class MasterSettings:
    """`notices` are sentences to be logged as warnings at the start.

    `databases` are several clusters in one process; `database` is the one that a master is of then.
    """

    host: str = "127.0.0.1"
    port: int = 8070
    data_dir: Path
    lease_seconds: float = 12.0
    keep_ended_days: float = 30.0
    log_level: str = "info"
    log_format: str = "text"
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_self_signed: bool = False
    tls_client_ca: Path | None = None
    token_file: Path | None = None
    token: str | None = field(default=None, repr=False)
    policy_file: Path | None = None
    policy: Policy = field(default_factory=Policy, repr=False)
    store_type: str = "memory"
    database_url: str | None = field(default=None, repr=False)
    database_direct_url: str | None = field(default=None, repr=False)
    database_read_url: str | None = field(default=None, repr=False)
    databases: tuple[Database, ...] = ()
    database: Database | None = None
    database_pool_size: int = 10
    database_timeout: float = 10.0
    synchronous_commit: str | None = None
    advertise_url: str | None = None
    allow_simulated: bool = False
    alert_hosts: tuple[str, ...] = ()
    alert_mail: tuple[str, ...] = ()
    alert_commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    smtp_url: str | None = field(default=None, repr=False)
    mail_from: str | None = None
    log_tasks: bool = False
    notices: tuple[str, ...] = ()

    @property
    def speaks_tls(self) -> bool:
        return self.tls_cert is not None or self.tls_self_signed

    def advertised(self, port: int) -> str:
        """Return the address told to workers and masters; `port` is the one that was bound."""
        if self.advertise_url:
            return self.advertise_url
        scheme = "https" if self.speaks_tls else "http"
        host = socket.gethostname() if self.host in ("0.0.0.0", "::", "") else self.host
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


@value
class WorkerSettings:
    """`node_id` None is the one kept in the data directory; `cpu` is millicores, `memory` bytes.

    `capacity` (slots), `cpu` and `memory` None are detected. `heartbeat_interval` None follows the lease.
    """

    node_id: str | None = None
    hostname: str
    host: str = "127.0.0.1"
    port: int = 8071
    no_api: bool = False
    master_urls: tuple[str, ...] = (DEFAULT_MASTER_URL,)
    data_dir: Path
    capacity: int | None = None
    cpu: int | None = None
    memory: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, int] = field(default_factory=dict)
    gpus: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = (Runtime.DOCKER.value,)
    allow_root_processes: bool = False
    handlers: tuple[str, ...] = ()
    handler_processes: int | None = None
    task_host: str = "auto"
    task_port: int = 8072
    docker_host: str | None = None
    registry_config: Path | None = None
    databases: Mapping[str, str] = field(default_factory=dict, repr=False)
    database_url: str | None = field(default=None, repr=False)
    database_connections: int = 4
    heartbeat_interval: float | None = None
    shutdown_timeout: float = 30.0
    join: JoinToken | None = field(default=None, repr=False)
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    token_file: Path | None = None
    token: str | None = field(default=None, repr=False)
    policy_file: Path | None = None
    policy: Policy = field(default_factory=Policy, repr=False)
    log_level: str = "info"
    log_format: str = "text"
    notices: tuple[str, ...] = ()


_LOG_LEVELS = ("debug", "info", "warning", "error")

_SHARED = (
    _option("--log-level", parsers.one_of(*_LOG_LEVELS), "debug, info, warning or error", default="info"),
    _option("--log-format", parsers.one_of("text", "json"), "text, or json for one object a line"),
    _option("--token-file", parsers.path, "a file with the token that all use", metavar="FILE"),
    _option(
        "--policy", parsers.path, "a YAML file: what tasks may ask for", field="policy_file", metavar="FILE"
    ),
)

MASTER = Program(
    name="podling-master",
    description="Podling's master: takes tasks, keeps them, and places them on workers.",
    options=(
        _option("--host", parsers.text, "the address to listen on; other than loopback needs a token"),
        _option("--port", parsers.port, "the port to listen on (8070); 0 chooses a free one", metavar="N"),
        _option("--data-dir", parsers.path, "where the master keeps files of its own", metavar="DIR"),
        _option("--lease-seconds", parsers.seconds(0.2, 3600), "how long a silent worker is waited for (12)"),
        _option("--keep-ended-days", parsers.days, "how long tasks that ended are kept (30)", metavar="DAYS"),
        *STORE,
        _option("--advertise-url", parsers.http_url, "the address that others use", metavar="URL"),
        _option("--tls-cert", parsers.path, "a certificate chain in PEM; makes it https", metavar="FILE"),
        _option("--tls-key", parsers.path, "the certificate's key in PEM", metavar="FILE"),
        _option("--tls-self-signed", parsers.switch, "https with a certificate made, and kept, by the master",
                is_switch=True),
        _option("--tls-client-ca", parsers.path, "who signs workers' certificates; a worker has to show one",
                metavar="FILE"),
        _option("--allow-simulated", parsers.switch, "take tasks that run nothing, for benchmarks",
                is_switch=True),
        _option("--alert-hosts", alerts.host_pattern, "hosts that web hooks may go to, private ones too",
                repeated=True, metavar="PATTERNS"),
        _option("--alert-mail", alerts.recipient, "whom any task may have mail sent to: *@example.org",
                repeated=True, metavar="PATTERNS"),
        _option("--alert-command", alerts.command, "a command for alerts; may be repeated",
                field="alert_commands", repeated=True, separator="\n", metavar="NAME=COMMAND"),
        _option("--smtp-url", alerts.smtp_url, "the mail server; a password belongs into the variable",
                metavar="URL"),
        _option("--mail-from", alerts.mail_address, "who mail is from", metavar="ADDRESS"),
        _option("--log-tasks", parsers.switch, "a line of the log for every move of a task", is_switch=True),
        *_SHARED,
    ),
)  # fmt: skip

WORKER = Program(
    name="podling-worker",
    description="Podling's worker: runs on this machine what the master places here.",
    options=(
        _option("--node-id", parsers.name, "the node's id; without it the one kept in the data directory"),
        _option("--hostname", parsers.name, "the name shown for this machine (its own)"),
        _option("--host", parsers.text, "where its own API listens; other than loopback needs a token"),
        _option("--port", parsers.port, "the port of its own API (8071); 0: a free one", metavar="N"),
        _option("--no-api", parsers.switch, "have no API of its own: nothing listens here", is_switch=True),
        _option("--master-url", parsers.http_url, f"masters, comma separated ({DEFAULT_MASTER_URL})",
                field="master_urls", repeated=True, metavar="URL"),
        _option("--join", JoinToken.parse, "become a node with this join token, once", metavar="TOKEN"),
        _option("--data-dir", parsers.path, "where the journal and logs are kept", metavar="DIR"),
        _option("--capacity", parsers.count(1, 100_000), "how many tasks side by side", metavar="SLOTS"),
        _option("--cpu", parsers.cpu, "CPU for tasks, such as 2 or 1500m (detected)", metavar="QUANTITY"),
        _option("--memory", parsers.memory, "memory for tasks, such as 8Gi (detected)", metavar="QUANTITY"),
        _option("--label", parsers.label, "a label for placement; may be repeated", field="labels",
                repeated=True, metavar="K=V"),
        _option("--resource", parsers.resource, "a countable resource, such as gpu=2; may be repeated",
                field="resources", repeated=True, metavar="NAME=COUNT"),
        _option("--gpu", parsers.gpu, "a GPU's number or id, given to one task at a time; may be repeated",
                field="gpus", repeated=True, metavar="ID"),
        _option("--runtime", parsers.one_of(*Runtime), "docker, process, python, sql (comma separated)",
                field="runtimes", repeated=True, metavar="NAMES"),
        _option("--handlers", parsers.module, "modules that register functions; may be repeated",
                repeated=True, metavar="MODULES"),
        _option("--handler-processes", parsers.count(1, 256), "processes that run them (one for each CPU)",
                metavar="N"),
        _option("--allow-root-processes", parsers.switch, "let runtime process run as uid 0", is_switch=True),
        _option("--task-host", parsers.text, "where tasks reach this worker (its bridge), or off"),
        _option("--task-port", parsers.port, "the port there, if it is free (8072)", metavar="N"),
        _option("--docker-host", parsers.text, "the Docker engine's address", metavar="URL",
                variables=("PODLING_DOCKER_HOST", "DOCKER_HOST")),
        _option("--registry-config", parsers.path, "credentials for registries, as in Docker's config.json",
                metavar="FILE"),
        _option("--database", parsers.named_database, "a database for runtime sql; may be repeated",
                field="databases", repeated=True, separator=" ", metavar="NAME=URL"),
        _option("--database-url", parsers.text, "where statements run that name no database", metavar="URL",
                variables=("DATABASE_URL", "PODLING_DATABASE_URL")),
        _option("--database-connections", parsers.count(1, 1000), "statements at a time in each of them (4)",
                metavar="N"),
        _option("--heartbeat-interval", parsers.seconds(0.05, 3600), "seconds, or 5s (follows the lease)"),
        _option("--shutdown-timeout", parsers.seconds(0, 3600), "how long a stop may take (30)"),
        _option("--tls-ca", parsers.path, "whom to trust, and nobody else, on https", metavar="FILE"),
        _option("--tls-cert", parsers.path, "a certificate to show to masters that ask", metavar="FILE"),
        _option("--tls-key", parsers.path, "the certificate's key in PEM", metavar="FILE"),
        *_SHARED,
    ),
)  # fmt: skip


def read_master(argv: Sequence[str], environ: Mapping[str, str]) -> MasterSettings:
    """Read the master's settings; `argv` is without the program's name.

    Raises ConfigurationError that tells all faults at once.
    """
    faults = Faults(MASTER.name)
    given = _given(MASTER, argv, environ, faults)
    given.setdefault("data_dir", _data_home(environ) / "master")
    given["token"] = _token(given, faults)
    given["policy"] = _policy(given, faults)
    given["alert_commands"] = dict(given.get("alert_commands", ()))
    if given.get("databases"):
        given.setdefault("store_type", "postgres")
    settings = MasterSettings(**given, notices=store_notices(given) + _token_notices(given))
    if settings.store_type == "memory":  # any other may hold tokens, and is asked once it is open
        _check_host(settings.host, settings.token, faults)
    if settings.databases:
        check_databases(given, faults)
    else:
        check_store(settings.store_type, settings.database_url, faults)
    _check_certificate(settings, faults)
    _check_master_tls(settings, faults)
    alerts.check_mail(settings, faults)
    faults.raise_if_any()
    return settings


def read_worker(argv: Sequence[str], environ: Mapping[str, str]) -> WorkerSettings:
    """Read the worker's settings; `argv` is without the program's name.

    Raises ConfigurationError that tells all faults at once.
    """
    faults = Faults(WORKER.name)
    given = _given(WORKER, argv, environ, faults)
    given.setdefault("data_dir", _data_home(environ) / "worker")
    given.setdefault("hostname", socket.gethostname())
    given["token"] = _token(given, faults)
    given["policy"] = _policy(given, faults)
    for name in ("labels", "resources", "databases"):
        given[name] = dict(given.get(name, ()))
    given["gpus"] = tuple(dict.fromkeys(given.get("gpus", ())))
    if given["gpus"] and given["resources"].setdefault(GPU, len(given["gpus"])) != len(given["gpus"]):
        faults.add("--resource gpu=… says another number than --gpu names; leave the former out")
    given["runtimes"] = _runtimes(given, faults)
    given["databases"] = databases_of(given, faults)
    settings = WorkerSettings(**given, notices=_token_notices(given))
    _check_host(settings.host, settings.token, faults)
    _check_certificate(settings, faults)
    _check_file("--tls-ca (PODLING_TLS_CA)", settings.tls_ca, faults)
    if settings.join is not None and settings.token_file is not None:
        faults.add("--join gets this worker a credential of its own, so --token-file is one too many")
    faults.raise_if_any()
    return settings


def _given(
    program: Program, argv: Sequence[str], environ: Mapping[str, str], faults: Faults
) -> dict[str, Any]:
    """Return what was set anywhere; what was not is left to the settings' own defaults."""
    found = read_options(program, argv, environ, faults)
    return {name: setting for name, setting in found.items() if setting is not None}


def _runtimes(given: Mapping[str, Any], faults: Faults) -> tuple[str, ...]:
    """Return what was named; who brings functions and names nothing runs those alone."""
    functions = (Runtime.PYTHON.value,) if given.get("handlers") else ()
    named = given.get("runtimes") or (() if functions else (Runtime.DOCKER.value,))
    if Runtime.PYTHON.value in named and not functions:
        faults.add("--runtime python needs --handlers (PODLING_HANDLERS): name a module that has functions")
    return tuple(dict.fromkeys((*named, *functions)))


def _data_home(environ: Mapping[str, str]) -> Path:
    home = environ.get("XDG_DATA_HOME") or ""
    base = Path(home) if Path(home).is_absolute() else Path(environ.get("HOME") or "/root") / ".local/share"
    return base / "podling"


def _token(given: Mapping[str, Any], faults: Faults) -> str | None:
    path: Path | None = given.get("token_file")
    if path is None:
        return None
    how = f"write one line of at least {LEAST_TOKEN_LENGTH} characters, as `openssl rand -hex 32` makes it"
    try:
        token = path.read_text(encoding="ascii").strip()
    except OSError as error:
        faults.add(f"--token-file (PODLING_TOKEN_FILE): {path} cannot be read: {error.strerror}; {how}")
        return None
    except UnicodeDecodeError:
        token = ""
    if len(token) < LEAST_TOKEN_LENGTH or len(token.split()) != 1:
        faults.add(f"--token-file (PODLING_TOKEN_FILE): {path} holds no token; {how}")
        return None
    return token


def _policy(given: Mapping[str, Any], faults: Faults) -> Policy:
    path: Path | None = given.get("policy_file")
    if path is None:
        return Policy()
    from podling.boot.policy import load_policy

    try:
        return load_policy(path)
    except ConfigurationError as error:
        faults.add(f"--policy (PODLING_POLICY): {error.message}")
        return Policy()


def _check_host(host: str, token: str | None, faults: Faults) -> None:
    if token is None and not is_loopback(host):
        faults.add(NEEDS_TOKEN.format(host=host))


def _check_certificate(settings: MasterSettings | WorkerSettings, faults: Faults) -> None:
    files = {
        "--tls-cert (PODLING_TLS_CERT)": settings.tls_cert,
        "--tls-key (PODLING_TLS_KEY)": settings.tls_key,
    }
    if len({path is None for path in files.values()}) == 2:
        faults.add(
            "--tls-cert and --tls-key (PODLING_TLS_CERT, PODLING_TLS_KEY) go together; give both or none"
        )
    for name, path in files.items():
        _check_file(name, path, faults)


def _check_master_tls(settings: MasterSettings, faults: Faults) -> None:
    if settings.tls_self_signed and settings.tls_cert is not None:
        faults.add("--tls-self-signed makes a certificate, and --tls-cert brings one; choose one of them")
    _check_file("--tls-client-ca (PODLING_TLS_CLIENT_CA)", settings.tls_client_ca, faults)
    if settings.tls_client_ca is not None and not settings.speaks_tls:
        faults.add(
            "--tls-client-ca (PODLING_TLS_CLIENT_CA) is of no use without https; add --tls-cert and "
            "--tls-key, or --tls-self-signed"
        )


def _check_file(name: str, path: Path | None, faults: Faults) -> None:
    if path is not None and not path.is_file():
        faults.add(f"{name}: there is no file {path}; write the path of a PEM file")


def _token_notices(given: Mapping[str, Any]) -> tuple[str, ...]:
    path: Path | None = given.get("token_file")
    return () if path is None else readable_by_others(path)
