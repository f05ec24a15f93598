"""Whom a join token lets in, and when a node's credential ends."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from podling.core import joining
from podling.core.access import EVERY_ROLE, Role, allows
from podling.core.errors import Conflict, Forbidden, InvalidInput, PodlingError, TooManyRequests, Unauthorized
from podling.core.joining import JoinToken, check_join, check_renewal, join_token, outdated
from podling.core.token import Token, TokenKind

NOW = datetime(2026, 11, 26, tzinfo=UTC)
SECRET = "podling_join_" + "ab" * 32


def token(role: Role = Role.JOIN, **fields: Any) -> Token:
    known: dict[str, Any] = {"token_id": "j", "name": "second", "role": role, "created_at": NOW}
    return Token(**known | fields)


def joined(node_id: str, token_id: str = "c1", **fields: Any) -> Token:
    return replace(joining.credential(token_id, node_id, "j", NOW), **fields)


JOIN = join_token(token(), None, None)


def test_a_join_token_lets_one_machine_in_within_an_hour_unless_something_else_is_said() -> None:
    assert (JOIN.kind, JOIN.uses, JOIN.expires_at) == (TokenKind.JOIN, 1, NOW + timedelta(hours=1))
    later = NOW + timedelta(days=7)
    assert join_token(token(expires_at=later), 20, None).expires_at == later


@pytest.mark.parametrize(
    ("fields", "uses", "field"),
    [
        ({"expires_at": NOW + timedelta(days=7, seconds=1)}, 1, "expiresSeconds"),
        ({}, 0, "uses"),
        ({}, -1, "uses"),
        ({}, 10_001, "uses"),
    ],
)
def test_a_join_token_that_is_good_for_too_much_is_refused(
    fields: dict[str, Any], uses: int, field: str
) -> None:
    with pytest.raises(InvalidInput) as raised:
        join_token(token(**fields), uses, None)
    assert raised.value.details == {"field": field}


def test_a_role_to_join_with_is_good_for_nothing_else() -> None:
    assert [role for role in EVERY_ROLE if allows(Role.JOIN, role)] == [Role.JOIN]
    assert [role for role in EVERY_ROLE if allows(role, Role.JOIN)] == [Role.JOIN]


@pytest.mark.parametrize(
    ("known", "node_id", "is_listed", "error", "code"),
    [
        ([], "n1", False, Unauthorized, "join_token_ended"),
        ([join_token(token(expires_at=NOW), None, None)], "n1", False, Unauthorized, "join_token_ended"),
        ([join_token(token(revoked_at=NOW), None, None)], "n1", False, Unauthorized, "join_token_ended"),
        ([JOIN, joined("n0")], "n1", False, Forbidden, "join_token_used"),
        ([JOIN, joined("n0", revoked_at=NOW)], "n1", False, Forbidden, "join_token_used"),
        ([join_token(token(), 1, "n2")], "n1", False, Forbidden, "another_node"),
        ([JOIN], "n1", True, Conflict, "node_exists"),
        ([JOIN, joined("n1", joined_by="other")], "n1", False, Conflict, "node_exists"),
    ],
)
def test_who_may_not_join_is_told_why(
    known: list[Token], node_id: str, is_listed: bool, error: type[PodlingError], code: str
) -> None:
    with pytest.raises(error) as raised:
        check_join(known, "j", node_id, NOW, is_listed=is_listed)
    assert raised.value.code == code


def test_as_many_machines_join_as_a_token_says_and_a_known_node_with_a_token_of_its_own() -> None:
    twice = join_token(token(), 2, None)
    check_join([twice, joined("n0")], "j", "n1", NOW, is_listed=False)
    with pytest.raises(Forbidden, match="the join token second has been used up; an admin makes one"):
        check_join([twice, joined("n0"), joined("n1", "c2")], "j", "n2", NOW, is_listed=False)
    check_join([join_token(token(), 1, "n1")], "j", "n1", NOW, is_listed=True)


def test_only_a_live_credential_of_the_node_itself_is_renewed() -> None:
    own = joined("n1")
    assert check_renewal([JOIN, own], "c1", "n1", NOW) == own
    for known, token_id in [
        ([own], "c2"),
        ([own], None),
        ([joined("n2")], "c1"),
        ([token(Role.WORKER)], "j"),
    ]:
        with pytest.raises(Forbidden, match="only a node's own credential can be renewed"):
            check_renewal(known, token_id, "n1", NOW)
    with pytest.raises(Unauthorized):
        check_renewal([joined("n1", revoked_at=NOW)], "c1", "n1", NOW)


def test_no_node_fills_the_store_with_credentials() -> None:
    full = [joined("n1", f"c{number}") for number in range(joining.MOST_PER_HOUR)]
    back = join_token(token(), 1, "n1")
    with pytest.raises(TooManyRequests, match="node n1 got 20 credentials within an hour"):
        check_renewal(full, "c0", "n1", NOW)
    with pytest.raises(TooManyRequests):
        check_join([back, *full], "j", "n1", NOW, is_listed=True)
    later = NOW + timedelta(hours=1)
    assert check_renewal(full, "c0", "n1", later).token_id == "c0"
    assert check_renewal([*full, joined("n2", "other")], "other", "n2", NOW).token_id == "other"


def test_credentials_of_a_node_end_but_those_that_are_kept() -> None:
    known = [joined("n1"), joined("n1", "c2"), joined("n1", "c3", revoked_at=NOW), joined("n2", "c4"), JOIN]
    assert [item.token_id for item in outdated(known, "n1", NOW)] == ["c1", "c2"]
    assert [item.token_id for item in outdated(known, "n1", NOW, kept=["c2"])] == ["c1"]


def test_a_join_token_is_read_as_it_is_written() -> None:
    for one in (JoinToken(secret=SECRET), JoinToken(secret=SECRET, fingerprint="0f" * 32)):
        assert JoinToken.parse(f" {one}\n") == one


@pytest.mark.parametrize(
    "text",
    ["", "x", SECRET[:-1], SECRET + ".", SECRET + ".ab", SECRET.replace("join", "admin"), SECRET.upper()],
)
def test_what_is_no_join_token_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="that is no join token") as raised:
        JoinToken.parse(text)
    assert "abab" not in str(raised.value)
