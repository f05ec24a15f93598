"""Whatever is sent to any operation of the document, the master answers as the document says."""

from functools import partial
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi import checks

from tests.contract.conftest import Door
from tests.support import IN_SOAK

EXAMPLES = 200 if IN_SOAK else 6  # of each operation, and as many that break its description
STORIES = 100 if IN_SOAK else 5  # of operations one after the other
STEPS = 20 if IN_SOAK else 8

CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
LEFT_OUT = {"x-podling-websocket", "x-podling-endless"}
WITH_TOKEN = [*CHECKS, checks.ignored_auth]

pytestmark = pytest.mark.timeout(3600 if IN_SOAK else 300)

_settings = partial(
    settings,
    deadline=None,
    derandomize=not IN_SOAK,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def _schema(door: Door) -> Any:
    """Return what the master says of itself, without what isn't a request and its answer.

    At an open door no token is made: it would be the first, and everything after it refused.
    """
    document = door.document()
    if not door.headers:
        del document["paths"]["/api/v1/tokens"]["post"]
    for operations in document["paths"].values():
        for method in [name for name, made in operations.items() if not LEFT_OUT.isdisjoint(made)]:
            del operations[method]
    return schemathesis.openapi.from_dict(document)


def _call(case: Case, door: Door) -> Any:
    return case.call(base_url=door.url, headers=door.headers, timeout=10)


def _check(case: Case, response: Any, door: Door) -> None:
    case.validate_response(response, headers=door.headers, checks=WITH_TOKEN if door.headers else CHECKS)


def _can_be_broken_by(mode: GenerationMode, operation: Any) -> bool:
    """Whether what can be sent to the operation may be such that all of it is refused.

    Any text is an id, and each task of a batch is refused by itself.
    """
    if mode is GenerationMode.POSITIVE:
        return True
    return bool(operation.body or operation.query) and not operation.path.endswith(":batch")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_it_answers_as_the_document_says(door: Door, mode: GenerationMode) -> None:
    operations = [found.ok() for found in _schema(door).get_all_operations()]
    assert len(operations) > 20
    for operation in filter(partial(_can_be_broken_by, mode), operations):

        @given(case=operation.as_strategy(mode))
        @_settings(max_examples=EXAMPLES)
        def answers(case: Case) -> None:
            _check(case, _call(case, door), door)

        answers()


def test_it_answers_so_whatever_was_done_before(door: Door) -> None:
    class Story(_schema(door).as_state_machine()):  # type: ignore[misc]
        def call(self, case: Case, **_: Any) -> Any:
            return _call(case, door)

        def validate_response(self, response: Any, case: Case, **_: Any) -> None:
            _check(case, response, door)

    Story.run(settings=_settings(max_examples=STORIES, stateful_step_count=STEPS))
