"""The parts of the Docker runtime that need no engine."""

import struct
from datetime import UTC, datetime

import pytest

from podling.core.logrecord import MAX_PAYLOAD_BYTES, Stream
from podling.core.spec import ContainerSpec, Port
from podling.worker.runtime import docker_errors, docker_logs
from podling.worker.runtime.docker_config import create_config
from tests.worker.runtime.recorder import work_of

AT = "2026-01-02T03:04:05.678901234Z"


def frame(stream: int, data: bytes) -> bytes:
    payload = f"{AT} ".encode() + data
    return struct.pack(">BxxxL", stream, len(payload)) + payload


@pytest.mark.parametrize("size", [1, 7, 8, 9, 50, 1000])
def test_frames_are_put_together_however_they_arrive(size: int) -> None:
    data = frame(1, b"one\n") + frame(2, b"bad\n") + frame(1, b"") + frame(1, b"two\n")
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    records = [record for batch in docker_logs.records(chunks) for record in batch]
    assert [(record.stream, record.data) for record in records] == [
        (Stream.STDOUT, b"one\n"),
        (Stream.STDERR, b"bad\n"),
        (Stream.STDOUT, b""),
        (Stream.STDOUT, b"two\n"),
    ]
    assert {record.at for record in records} == {datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)}


def test_a_frame_beyond_the_limit_becomes_several_records() -> None:
    (batch,) = docker_logs.records([frame(1, b"x" * (2 * MAX_PAYLOAD_BYTES + 1))])
    assert [len(record.data) for record in batch] == [MAX_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES, 1]


def test_a_time_before_the_last_full_second_is_asked_for_exactly() -> None:
    assert docker_logs.since_parameter(datetime(2026, 1, 2, 3, 4, 5, 42, UTC)) == "1767323045.000042000"


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            "failed to create shim task: OCI runtime create failed: runc create failed: unable to start "
            'container process: exec: "nope": executable file not found in $PATH: unknown',
            "The command nope is not in the image.",
        ),
        (
            "driver failed programming external connectivity on endpoint x (abc): "
            "Bind for 0.0.0.0:8080 failed: port is already allocated",
            "The host port 8080 is in use.",
        ),
        (
            "driver failed programming external connectivity on endpoint x (abc): Error starting userland "
            "proxy: listen tcp4 0.0.0.0:80: bind: address already in use",
            "The host port 80 is in use.",
        ),
        (
            "unable to find user bob: no matching entries in passwd file",
            "The image has no user bob.",
        ),
        ("OCI runtime create failed: something new: unknown", "something new"),
    ],
)
def test_the_engines_words_become_a_sentence(message: str, sentence: str) -> None:
    assert docker_errors.sentence(message) == sentence


def test_what_is_not_asked_for_is_left_to_the_image() -> None:
    config = create_config(work_of("x", ContainerSpec(image="i")), cluster_id="c", node_id="n")
    assert not {"Entrypoint", "Cmd", "WorkingDir", "User", "StopSignal"} & set(config)
    assert not {"Memory", "NanoCpus", "CpuShares", "MemoryReservation"} & set(config["HostConfig"])


def test_a_port_is_bound_only_if_the_host_has_one_for_it() -> None:
    ports = (Port(container_port=1), Port(container_port=2, host_port=0), Port(container_port=3, host_port=4))
    config = create_config(work_of("x", ContainerSpec(image="i", ports=ports)), cluster_id="c", node_id="n")
    assert config["HostConfig"]["PortBindings"] == {
        "2/tcp": [{"HostPort": "0"}],
        "3/tcp": [{"HostPort": "4"}],
    }
