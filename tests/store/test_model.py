"""The same random operations on memory and PostgreSQL; after each, everything that shows is the same.

A third witness keeps the tasks as they must be. Invariants checked after every step: I4 terminal is
final, I6 one live attempt at most, I7 attempt numbers grow by one, I8 what is stale changes nothing.
"""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.postgres_servers import PostgresServer
from tests.store.model_machine import StoreMachine

EXAMPLES = int(os.environ.get("PODLING_MODEL_EXAMPLES", "10"))
"""Enough for every run of the tests; a long run asks for thousands."""


@pytest.mark.timeout(120 + 10 * EXAMPLES)
def test_both_stores_answer_the_same(postgres_server: PostgresServer) -> None:
    class Machine(StoreMachine):
        server = postgres_server

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
