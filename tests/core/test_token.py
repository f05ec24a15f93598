"""What a token is, and which may end."""

import re
from datetime import timedelta
from typing import Any

import pytest

from podling.core.access import Role
from podling.core.audit import LONGEST_ID, Outcome, outcome_of, shown_id
from podling.core.errors import Conflict, InvalidInput, NotFound
from podling.core.token import SECRET_PATTERN, Token, check_new, hash_secret, make_secret, revoke
from tests.builders import NOW

LATER = NOW + timedelta(hours=1)


def token(name: str = "ada", role: Role = Role.ADMIN, **fields: Any) -> Token:
    return Token(**({"token_id": f"id-{name}", "name": name, "role": role, "created_at": NOW} | fields))


def test_a_secret_tells_what_it_is_and_has_all_its_bits() -> None:
    secret = make_secret(Role.WORKER, lambda bits: 2**bits - 1)
    assert secret == "podling_worker_" + "f" * 64
    assert make_secret(Role.READER, lambda bits: 1) == "podling_reader_" + "0" * 63 + "1"
    assert SECRET_PATTERN.fullmatch(secret)
    assert re.fullmatch(r"[0-9a-f]{64}", hash_secret(secret)) and hash_secret(secret) != secret[-64:]
    assert hash_secret("\udcff") != hash_secret(secret)


@pytest.mark.parametrize(
    ("fields", "live"),
    [
        ({}, True),
        ({"expires_at": LATER}, True),
        ({"expires_at": NOW}, False),
        ({"revoked_at": NOW}, False),
    ],
)
def test_it_is_live_until_it_is_revoked_or_expires(fields: dict[str, Any], live: bool) -> None:
    assert token(**fields).is_live(NOW) is live


def test_a_name_is_free_again_when_its_token_has_ended() -> None:
    new = token("ada", token_id="id-new")
    with pytest.raises(Conflict, match="named ada already"):
        check_new([token()], new)
    assert check_new([token(revoked_at=NOW)], new) is new
    assert check_new([token(expires_at=NOW)], new) is new


@pytest.mark.parametrize("fields", [{"name": ""}, {"name": "a\n"}, {"name": "x" * 101}, {"role": Role.TASK}])
def test_a_bad_token_is_refused_by_its_field(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(fields))):
        check_new([], token(**fields))


def test_the_last_admin_stays() -> None:
    ada, bob = token("ada"), token("bob")
    others = [token("ci", Role.OPERATOR), token("eve", revoked_at=NOW), token("dan", expires_at=NOW)]
    with pytest.raises(Conflict) as refused:
        revoke([ada, *others], ada.token_id, NOW, others_may_enter=False)
    assert refused.value.code == "last_admin"
    assert revoke([ada, bob, *others], ada.token_id, NOW, others_may_enter=False).revoked_at == NOW
    assert revoke([ada, *others], ada.token_id, NOW, others_may_enter=True).revoked_at == NOW
    assert revoke([ada, *others], "id-ci", NOW, others_may_enter=False).revoked_at == NOW


def test_a_second_revocation_changes_nothing() -> None:
    ended = token("ci", Role.READER, revoked_at=NOW)
    assert revoke([ended], ended.token_id, LATER, others_may_enter=False) is ended
    with pytest.raises(NotFound):
        revoke([ended], "id-nobody", LATER, others_may_enter=False)


def test_the_audit_keeps_no_secret_and_nothing_that_plays_with_a_terminal() -> None:
    assert shown_id("x" + make_secret(Role.ADMIN, lambda bits: 5)) == "xpodling_***"
    assert shown_id("\x1b[31m\udcff") == "\\x1b[31m\\udcff"
    assert len(shown_id("y" * 1000)) == LONGEST_ID


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(201, Outcome.DONE), (403, Outcome.REFUSED), (409, Outcome.FAILED), (None, Outcome.UNKNOWN)],
)
def test_an_answer_tells_how_it_went(status: int | None, outcome: Outcome) -> None:
    assert outcome_of(status) is outcome
