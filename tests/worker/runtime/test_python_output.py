"""The log of one attempt, as its function's process writes it."""

import logging
from pathlib import Path

import pytest

from podling.core.logrecord import LogRecord, Stream, decode
from podling.worker.runtime.python_output import Log


def records_of(path: Path) -> list[LogRecord]:
    return list(decode(path.read_bytes()))


@pytest.fixture
def notices() -> list[int]:
    return []


@pytest.fixture
def log(tmp_path: Path, notices: list[int]) -> Log:
    return Log(tmp_path / "log", lambda: notices.append(1), most_bytes=20)


def test_there_is_no_file_before_the_first_line(log: Log, tmp_path: Path, notices: list[int]) -> None:
    log.write(Stream.STDOUT, "begun")
    assert not (tmp_path / "log").exists()
    log.write(Stream.STDOUT, " and ended\n")
    (record,) = records_of(tmp_path / "log")
    assert (record.stream, record.data, notices) == (Stream.STDOUT, b"begun and ended\n", [1])


def test_what_has_no_end_is_written_at_a_flush_and_at_the_end(log: Log, tmp_path: Path) -> None:
    log.write(Stream.STDERR, "a")
    log.flush()
    log.write(Stream.STDERR, "b")
    log.close()
    assert [record.data for record in records_of(tmp_path / "log")] == [b"a", b"b"]
    log.write(Stream.STDERR, "c")  # from a thread that was left behind
    assert [record.data for record in records_of(tmp_path / "log")] == [b"a", b"b", b"c"]


def test_what_is_too_much_is_counted_as_a_gap(log: Log, tmp_path: Path) -> None:
    for _ in range(4):
        log.write(Stream.STDOUT, "123456789\n")
    log.close()
    records = records_of(tmp_path / "log")
    assert [record.data for record in records] == [b"123456789\n", b"123456789\n", b"20"]
    assert records[-1].stream is Stream.GAP


def test_a_text_that_is_no_text_is_written_all_the_same(log: Log, tmp_path: Path) -> None:
    log.write(Stream.STDOUT, "\ud800\n")
    log.write(Stream.STDOUT, b"\xff\n")
    assert [record.data for record in records_of(tmp_path / "log")] == [b"\\ud800\n", b"\xff\n"]


def test_a_disk_that_refuses_it_is_no_failure_of_the_function(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log(tmp_path / "nowhere" / "log", lambda: None)
    with caplog.at_level(logging.WARNING):
        log.write(Stream.STDOUT, "lost\n")
    assert "cannot be written" in caplog.text
    (tmp_path / "nowhere").mkdir()
    log.close()
    (record,) = records_of(tmp_path / "nowhere" / "log")
    assert (record.stream, record.data) == (Stream.GAP, b"5")
