"""Findings about PostgreSQL: settings, connections, transactions, bloat."""

from collections.abc import Callable, Iterator

from podling.core.facts import DatabaseFacts, OpenTransaction, ReplicaFacts
from podling.core.findings import Finding, Severity, size_of, span

DATABASE = "database"
OLDEST_VERSION, NEWEST_VERSION, OLDEST_MAINTAINED = 12, 18, 14
IDLE_WARNING_SECONDS, IDLE_PROBLEM_SECONDS, LONG_SECONDS = 60.0, 600.0, 600.0
BLOAT_ROWS, BLOAT_TIMES = 20_000, 4
FULL_SHARE, NEARLY_FULL_SHARE = 0.95, 0.80
LATE_SECONDS = 10.0
CONNECTIONS_BESIDE_POOL = 2  # one listens, one notifies

_PSQL = "podling db psql"
_MUST_BE_ON = {
    "fsync": "after a crash of the machine the database may be torn, and with it every task",
    "full_page_writes": "after a crash of the machine the database may be torn, and with it every task",
    "synchronous_commit": "a task that was answered with 201 may be gone after a crash of the database",
    "autovacuum": "dead rows pile up: every pass of the planner takes longer, and the disk fills",
}


def examine_database(facts: DatabaseFacts, masters: int) -> Iterator[Finding]:
    """Look at everything that the store told of its database; `masters` share its connections."""
    rules: tuple[Callable[[DatabaseFacts], Iterator[Finding]], ...] = (
        _settings,
        _versions,
        _transactions,
        _bloat,
        _hidden,
        _replica,
    )
    for rule in rules:
        yield from rule(facts)
    yield from _connections(facts, masters)


def _found(
    severity: Severity, code: str, message: str, meaning: str, remedy: str, command: str = ""
) -> Finding:
    return Finding(
        severity=severity,
        code=code,
        subject=DATABASE,
        message=message,
        meaning=meaning,
        remedy=remedy,
        command=command or None,
    )


def _administrator(facts: DatabaseFacts) -> str:
    """Return how to give an administrator's orders: Podling's own login is one on an embedded database."""
    return _PSQL if facts.settings.get("is_superuser") == "on" else "psql -U postgres"


def _settings(facts: DatabaseFacts) -> Iterator[Finding]:
    for name, meaning in _MUST_BE_ON.items():
        if facts.settings.get(name) == "off":
            yield _found(
                Severity.PROBLEM,
                f"setting_{name}",
                f"{name} is off",
                meaning,
                "turn it on",
                f"{_administrator(facts)} -c 'ALTER SYSTEM SET {name} = on' -c 'SELECT pg_reload_conf()'",
            )
    for name in ("idle_in_transaction_session_timeout", "statement_timeout"):
        if facts.settings.get(name) == "0":
            yield _found(
                Severity.WARNING,
                f"setting_{name}",
                f"{name} is 0 in the sessions of the masters",
                "a master that hangs keeps its locks: something on the way there drops its settings",
                "give DATABASE_DIRECT_URL beside the pooler's address, so that the masters set it each time",
            )


def _versions(facts: DatabaseFacts) -> Iterator[Finding]:
    major = facts.version // 10000
    if not OLDEST_VERSION <= major <= NEWEST_VERSION:
        message = f"PostgreSQL {facts.version_name} is outside {OLDEST_VERSION} to {NEWEST_VERSION}"
        meaning = "Podling is not made for it"
        yield _found(Severity.WARNING, "server_version", message, meaning, "move to a version in between")
    elif major < OLDEST_MAINTAINED:
        message = f"PostgreSQL {facts.version_name} gets no more corrections from its makers"
        yield _found(Severity.NOTE, "server_version", message, "it works", "plan an upgrade of the server")
    if facts.schema_version != facts.known_schema_version:
        older = facts.schema_version < facts.known_schema_version
        yield _found(
            Severity.WARNING,
            "schema_version",
            f"the schema has version {facts.schema_version}, this master knows {facts.known_schema_version}",
            "a master that is older than the schema works on, and will not start again",
            "bring the schema up to date" if older else "restart this master on the new version",
            "podling db migrate" if older else "",
        )


def _connections(facts: DatabaseFacts, masters: int) -> Iterator[Finding]:
    most = int(facts.settings.get("max_connections", 0))
    usable = most - int(facts.settings.get("superuser_reserved_connections", 0))
    if usable <= 0:
        return
    wanted = masters * (facts.pool_size + CONNECTIONS_BESIDE_POOL)
    command = f"{_administrator(facts)} -c 'ALTER SYSTEM SET max_connections = {2 * most}'"
    if facts.connections >= NEARLY_FULL_SHARE * usable:
        full = facts.connections >= FULL_SHARE * usable
        yield _found(
            Severity.PROBLEM if full else Severity.WARNING,
            "connections",
            f"{facts.connections} of {usable} connections are in use",
            "when none is left, masters cannot connect and requests answer 503",
            "end what needs no connection, or allow more, which takes a restart of the server",
            command,
        )
    elif wanted > usable:
        yield _found(
            Severity.WARNING,
            "connections",
            f"{masters} masters may take {wanted} connections, and {usable} are allowed",
            "under load some requests will answer 503",
            "allow more, which takes a restart of the server, or put a pooler before it",
            command,
        )


def _transactions(facts: DatabaseFacts) -> Iterator[Finding]:
    for transaction in facts.transactions:
        idle = transaction.state.startswith("idle in transaction")
        limit = IDLE_WARNING_SECONDS if idle else LONG_SECONDS
        if transaction.seconds >= limit:
            yield _old_transaction(transaction, idle)
    for name in facts.prepared:
        yield _found(
            Severity.WARNING,
            "prepared_transaction",
            f"the prepared transaction {name} was never ended",
            "it keeps its locks and all dead rows since then, also after a restart",
            "end it",
            f"{_PSQL} -c \"ROLLBACK PREPARED '{name}'\"",
        )
    for name in facts.idle_slots:
        yield _found(
            Severity.WARNING,
            "idle_slot",
            f"nobody reads the replication slot {name}",
            "the server keeps its log for it until the disk is full",
            "bring the standby back, or drop the slot",
            f"{_administrator(facts)} -c \"SELECT pg_drop_replication_slot('{name}')\"",
        )


def _old_transaction(transaction: OpenTransaction, idle: bool) -> Finding:
    severe = transaction.holds_back_vacuum and idle and transaction.seconds >= IDLE_PROBLEM_SECONDS
    keeps = (
        "no dead row since then can be removed, and claims get slower"
        if transaction.holds_back_vacuum
        else ("it keeps its locks")
    )
    return _found(
        Severity.PROBLEM if severe else Severity.WARNING,
        "old_transaction",
        f"process {transaction.process_id} ({transaction.login}, {transaction.application or 'no name'}) has "
        f"had a transaction open for {span(transaction.seconds)}: {transaction.state}",
        keeps,
        "end it, and give its login a limit: ALTER ROLE … SET idle_in_transaction_session_timeout = '1min'",
        f"{_PSQL} -c 'SELECT pg_terminate_backend({transaction.process_id})'",
    )


def _bloat(facts: DatabaseFacts) -> Iterator[Finding]:
    for table in facts.tables:
        if table.dead_rows > max(BLOAT_ROWS, BLOAT_TIMES * table.live_rows):
            yield _found(
                Severity.WARNING,
                "bloat",
                f"the table {table.name} has {table.dead_rows} dead rows beside {table.live_rows} live ones "
                f"({size_of(table.total_bytes)})",
                "autovacuum does not keep up, or an old transaction holds it back",
                "end old transactions, then clean up",
                f"{_PSQL} -c 'VACUUM (ANALYZE) {table.name}'",
            )


def _hidden(facts: DatabaseFacts) -> Iterator[Finding]:
    if facts.hidden_sessions:
        yield _found(
            Severity.NOTE,
            "hidden_sessions",
            f"{facts.hidden_sessions} sessions of other logins cannot be looked into",
            "an old transaction among them would not be found here",
            "let Podling's login see them",
            f"{_administrator(facts)} -c 'GRANT pg_monitor TO podling'",
        )


def _replica(facts: DatabaseFacts) -> Iterator[Finding]:
    replica = facts.replica
    if replica is None:
        return
    if replica.problem is not None:
        yield _found(
            Severity.WARNING,
            "replica_away",
            f"the replica at {replica.where} cannot be used: {replica.problem}",
            "lists are read from the primary, which has that work too",
            "see that it runs, follows the primary, and is what DATABASE_READ_URL names",
        )
    elif replica.lag_seconds is None or replica.lag_seconds >= LATE_SECONDS:
        yield _lag(Severity.WARNING, replica, "see what keeps it from following: disk, network, long queries")
    else:
        yield _lag(Severity.NOTE, replica, "nothing: a task by its id comes from the primary")


def _lag(severity: Severity, replica: ReplicaFacts, remedy: str) -> Finding:
    lag = "by a time that is not known" if replica.lag_seconds is None else f"by {replica.lag_seconds:.1f} s"
    return _found(
        severity,
        "replica_lag",
        f"the replica at {replica.where} is behind {lag}",
        "lists show what was true then",
        remedy,
    )
