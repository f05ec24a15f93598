"""Statements in databases, as the logins that an operator has listed.

Each runs as a function does, in a process beside the worker that holds the connections: a result that
is too large for it takes nothing else along. See `sql_statements` for what happens there.
"""

from collections.abc import Mapping
from pathlib import Path

import orjson

from podling.core.retry import ErrorCode
from podling.core.statements import DEFAULT_DATABASE
from podling.core.value import changed
from podling.worker.runtime.base import ContainerWork, Found
from podling.worker.runtime.python import PythonRuntime

MODULE = "podling.worker.runtime.sql_statements"
DATABASES = "PODLING_STATEMENTS_IN"
"""The variable that tells the process its databases, as JSON; nobody else sees its environment."""


class SqlRuntime(PythonRuntime):
    """The port `Runtime` for statements; `databases` are addresses by the names that tasks give.

    `connections`: how many of each database at most.
    """

    name = "sql"
    place = "database"
    code_of_missing = ErrorCode.RUNTIME  # its worker was started anew without; another one may have it
    directory = "statements"

    def __init__(
        self, cluster_id: str, data_dir: Path, databases: Mapping[str, str], *, connections: int, slots: int
    ) -> None:
        told = {"cluster": cluster_id, "databases": dict(databases), "connections": connections}
        environment = {DATABASES: orjson.dumps(told).decode()}
        super().__init__(cluster_id, data_dir, (MODULE,), processes=1, slots=slots, environment=environment)

    async def prepare(self, work: ContainerWork) -> Found:
        order = {
            "statement": work.statement,
            "parameters": orjson.Fragment(work.parameters or b"[]"),
            "timeoutSeconds": work.timeout_seconds,
        }
        database = work.database or DEFAULT_DATABASE
        return await super().prepare(changed(work, handler=database, payload=orjson.dumps(order).decode()))
