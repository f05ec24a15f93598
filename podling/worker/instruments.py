"""What the parts of a worker count, made where its names are defined once."""

from podling.kit.metrics import Counter, Histogram


def docker_calls() -> Histogram:
    return Histogram(
        "podling_worker_docker_call_seconds", "Calls of the Docker engine, by what was asked.", ("call",)
    )


def docker_failures() -> Counter:
    return Counter(
        "podling_worker_docker_call_failures", "Calls of the Docker engine that failed.", ("call",)
    )


def journal_writes() -> Histogram:
    return Histogram("podling_worker_journal_write_seconds", "Commits of the journal, each with its sync.")
