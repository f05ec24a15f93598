import asyncio
import json
import logging

import pytest

from podling.boot.logs import set_up_logging
from podling.boot.redaction import redact
from podling.kit.front import at_work


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_password_never_reaches_the_log(format: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info", format)
    log = logging.getLogger("podling.test")
    log.info("connecting to %s", "postgres://podling:hunter22@db/podling", extra={"dsn": "password=hunter22"})
    try:
        raise ValueError("bad DSN postgres://podling:hunter22@db")
    except ValueError:
        log.exception("it failed")
    told = capsys.readouterr().err
    assert "connecting to postgres://podling:***@db/podling" in told
    assert "hunter22" not in told


def test_json_is_one_object_a_line_with_the_extra_fields(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info", "json")
    logging.getLogger("podling.test").warning("two\nlines", extra={"task_id": "t1"})
    line = json.loads(capsys.readouterr().err)
    assert line["time"].endswith("Z")
    del line["time"]
    assert line == {"level": "warning", "logger": "podling.test", "message": "two\nlines", "task_id": "t1"}


async def test_a_line_says_of_which_of_several_databases_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    async def tell() -> None:
        logging.getLogger("podling.test").info("begun")

    set_up_logging("info", "text")
    with at_work("lab"):
        begun = asyncio.create_task(tell())  # and so do the tasks that were begun for it
        await tell()
    await begun
    await tell()
    ends = [line.partition("begun")[2] for line in capsys.readouterr().err.splitlines()]
    assert ends == [" database=lab", " database=lab", ""]


def test_the_level_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("warning", "text")
    logging.getLogger("podling.test").info("quiet")
    logging.getLogger("podling.test").warning("loud")
    told = capsys.readouterr().err
    assert "loud" in told
    assert "quiet" not in told


def test_the_drivers_retries_leave_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info", "text")
    logging.getLogger("asyncpg.pool").warning("Failed to restore", exc_info=OSError("refused"))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres://u:p@h/d", "postgres://u:***@h/d"),
        ("postgres://u:p@ss/w@h/d", "postgres://u:***@h/d"),
        ("host=h password=secret dbname=d", "host=h password=*** dbname=d"),
        ("password='a b' x", "password=*** x"),
        ("Authorization: Bearer abcdefghij", "Authorization: Bearer ***"),
        ("http://127.0.0.1:8070/ready", "http://127.0.0.1:8070/ready"),
        ("write postgres://USER:PASSWORD@HOST/D", "write postgres://USER:PASSWORD@HOST/D"),
        ("password authentication failed", "password authentication failed"),
    ],
)
def test_redaction(text: str, expected: str) -> None:
    assert redact(text) == expected
