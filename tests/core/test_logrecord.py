from datetime import UTC, timedelta

from hypothesis import given
from hypothesis import strategies as st

from podling.core.logrecord import LogRecord, Stream, decode, encode, gap, newest, render, select
from tests.builders import NOW, at

times = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(fold=0))
records = st.lists(
    st.builds(
        LogRecord,
        at=times,
        stream=st.sampled_from([Stream.STDOUT, Stream.STDERR]),
        data=st.binary(max_size=40),
    )
    | st.builds(gap, times, st.integers(1, 10**12)),
    max_size=20,
)


def out(text: str, seconds: float = 0, stream: Stream = Stream.STDOUT) -> LogRecord:
    return LogRecord(at=at(seconds), stream=stream, data=text.encode())


@given(records)
def test_what_is_encoded_is_decoded(written: list[LogRecord]) -> None:
    assert list(decode(encode(written))) == written


@given(records, st.data())
def test_a_torn_end_loses_the_last_record_only(written: list[LogRecord], data: st.DataObject) -> None:
    frames = encode(written)
    cut = data.draw(st.integers(0, len(frames)))
    read = list(decode(frames[:cut]))
    assert read == written[: len(read)]
    assert len(encode(read)) <= cut
    if len(read) < len(written):
        assert len(encode(written[: len(read) + 1])) > cut


@given(records, st.integers(0, 400))
def test_the_newest_frames_are_whole_and_every_dropped_byte_is_counted(
    written: list[LogRecord], most: int
) -> None:
    frames = encode(written)
    kept, dropped = newest(frames, most)
    assert len(kept) <= most
    assert frames[dropped:] == kept
    read = list(decode(kept))
    assert read == written[len(written) - len(read) :]


def test_a_stream_is_selected_with_its_gaps() -> None:
    lines = [out("a\n"), gap(NOW, 7), out("b\n", stream=Stream.STDERR)]
    assert select(lines, stream=Stream.STDOUT) == lines[:2]


def test_records_are_selected_from_a_time_on() -> None:
    lines = [out("a\n", 0), out("b\n", 1), out("c\n", 2)]
    assert select(lines, since=at(1)) == lines[1:]


def test_the_tail_is_counted_in_lines() -> None:
    lines = [out("a\n"), out("b\n"), out("c\nd\n"), out("e\n")]
    assert select(lines, tail=1) == lines[3:]
    assert select(lines, tail=2) == lines[2:]
    assert select(lines, tail=4) == lines[1:]
    assert select(lines, tail=0) == []
    assert select(lines, tail=99) == lines


@given(records, st.integers(0, 30))
def test_a_tail_is_the_end_of_everything(written: list[LogRecord], lines: int) -> None:
    chosen = select(written, tail=lines)
    assert chosen == written[len(written) - len(chosen) :]
    assert len(chosen) <= lines


def test_a_gap_is_shown_to_a_person() -> None:
    assert render(gap(NOW, 12)) == b"[podling: 12 bytes of log are missing here]\n"
    assert render(gap(NOW)) == b"[podling: a part of the log is missing here]\n"
    assert render(out("hi\n")) == b"hi\n"
    assert gap(NOW + timedelta(seconds=1), 1).stream is Stream.GAP
