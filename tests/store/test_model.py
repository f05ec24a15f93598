"""The same random operations on memory and PostgreSQL; after each, everything that shows is the same.

A third witness keeps the tasks as they must be. Invariants checked after every step: I4 terminal is
final, I6 one live attempt at most, I7 attempt numbers grow by one, I8 what is stale changes nothing.
"""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.postgres_servers import PostgresServer
from tests.store.model_machine import StoreMachine


@pytest.mark.timeout(300)
def test_both_stores_answer_the_same(postgres_server: PostgresServer) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: StoreMachine(postgres_server),
        settings=settings(
            max_examples=20,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
