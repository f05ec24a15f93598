"""How a statement's end and result come to its cluster: at home with its own commit, elsewhere after it."""

import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg
import orjson

from podling import task

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]

PATIENCE_SECONDS = 5.0  # with masters that do not answer: what was done waits to be told of

# It has to act as its owner: anybody's function could act as this login. An older database has it without a
# result.
_FUNCTION = """
    SELECT format('%I.%I', n.nspname, p.proname) AS name, p.pronargs = 4 AS takes_result
    FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE p.oid IN (
        to_regprocedure('podling_end(text, text, bigint, text)'),
        to_regprocedure('podling_end(text, text, bigint)')
    )
      AND p.prosecdef
      AND has_function_privilege(p.oid, 'EXECUTE')
      AND current_setting('transaction_read_only') = 'off'
    ORDER BY p.pronargs DESC
    LIMIT 1
"""


@dataclass(frozen=True)
class Home:
    """The function that commits an end with its work, by its name; only Podling's own database has it."""

    function: str
    takes_result: bool

    def call(self, literals: str, result: bytes) -> str:
        """Return the SQL that ends the attempt, of which the literals tell whose it is."""
        quote = f"$r{secrets.token_hex(8)}$"  # right whatever the statement has set
        told = f", {quote}{result.decode()}{quote}" if self.takes_result else ""
        return f"SELECT {self.function}({literals}{told})"


async def find_home(connection: "_Connection", cluster_id: str, timeout_seconds: float) -> Home | None:
    """Return the function if this is the cluster's own database, as far as an older one can tell."""
    found = await connection.fetchrow(_FUNCTION, timeout=timeout_seconds)
    if found is None:
        return None
    home = Home(found["name"], found["takes_result"])
    asked = f"SELECT {home.function}($1, NULL, NULL, NULL)"
    is_ours = not home.takes_result or await connection.fetchval(asked, cluster_id, timeout=timeout_seconds)
    return home if is_ours else None


def announce(environment: Mapping[str, str], result: bytes) -> None:
    """Tell the cluster what has come of it; that nobody answers undoes nothing of what was done."""
    if "PODLING_TOKEN" not in environment:
        return  # its worker has no door
    try:
        task.Task(environment, patience_seconds=PATIENCE_SECONDS).result(orjson.loads(result))
    except (task.NotAnswered, task.Refused) as error:
        sys.stderr.write(f"the result could not be kept: {error}\n")
