"""Secrets planted in real programs are nowhere to be seen but where they must be."""

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.planted import SHARED, SMTP_PASSWORD, Evidence, Guarded
from tests.e2e.programs import IMAGE, programs, until
from tests.postgres_servers import DEBIAN_BINARIES, DebianPostgres
from tests.support import require

WRONG = "podling_admin_" + "bad0" * 16
KEY = "podling_submitter_" + "c0de" * 16
ALERT_SECRET = "whsec_" + base64.b64encode(b"an alert's planted secret").decode()
HOOK_KEY = "hook-key-" + "d1" * 12
PROXY_PASSWORD = "proxy-password-" + "e2" * 12
FILE_PASSWORD = "file-password-" + "f3" * 12

MAY_BE = {
    ("token of --token-file", "file shared 600"),
    ("admin's token", "podling token create ada --role admin"),
    ("admin's token", "file ada 600"),
    ("revoked token", "podling token create gone --role submitter --json"),
    ("join token", "podling token create second --join"),
    ("credential of the node", "file worker/credential 600"),
    ("alert's secret", "database"),
    ("key in the URL of a web hook", "answer to PUT /api/v1/alerts/ops"),
    ("key in the URL of a web hook", "answer to GET /api/v1/alerts"),
    ("key in the URL of a web hook", "database"),
    ("key in the URL of a web hook", "podling alert list --json"),
    ("idempotency key", "database"),
    ("idempotency key", "answer to POST /api/v1/tasks"),
    ("idempotency key", "answer to GET /api/v1/tasks"),
    ("idempotency key", "answer to GET /api/v1/tasks/ID"),
    ("idempotency key", "podling ps --json"),
}
"""Who makes or has a token, who may operate (a rule's URL), and what docs/security.md calls no secret."""

READ = (
    "health ready metrics openapi.json docs api/v1/metrics api/v1/cluster api/v1/doctor api/v1/tasks"
    " api/v1/nodes api/v1/tokens api/v1/audit?limit=500 api/v1/decisions api/v1/policy api/v1/alerts"
).split()
PRINTED = (
    "ps --json", "nodes --json", "status", "doctor --json", "audit --json", "decisions --json", "policy show",
    "token list --json", "alert list --json", "logs absent --verbose", "events --since 5m -n 3 --json",
)  # fmt: skip


@pytest.fixture
def postgres() -> Iterator[DebianPostgres]:
    require((DEBIAN_BINARIES / "pg_dump").exists(), "Debian's postgresql-15 is not installed")
    folder = Path(tempfile.mkdtemp(prefix="podling-planted-"))
    folder.chmod(0o755)
    server = DebianPostgres(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


def start(under_test: Guarded, postgres: DebianPostgres) -> None:
    """Start a master that has every kind of secret in its settings, at its most talkative."""
    evidence = under_test.evidence
    evidence.plant("token of --token-file", SHARED)
    evidence.plant("password of the database", str(urlsplit(postgres.dsn).password))
    evidence.plant("password of the mail server", SMTP_PASSWORD)
    under_test.with_settings(
        STORE_TYPE="postgres", DATABASE_URL=postgres.dsn, PODLING_LOG_LEVEL="debug",
        PODLING_SMTP_URL=f"smtp://podling:{SMTP_PASSWORD}@127.0.0.1:9", PODLING_MAIL_FROM="me@example.org",
    )  # fmt: skip
    under_test.start_master("--token-file", str(under_test.shared), "--alert-hosts", "127.0.0.1")


def make_tokens(under_test: Guarded) -> None:
    evidence = under_test.evidence
    admin = evidence.plant(
        "admin's token", under_test.command(*"token create ada --role admin".split()).strip()
    )
    made = json.loads(under_test.command(*"token create gone --role submitter --json".split()))
    gone = under_test.private("gone", evidence.plant("revoked token", made["token"]))
    under_test.command("token", "revoke", "gone")
    under_test.command("ps", "--verbose", token_file=gone)
    gone.unlink()
    under_test.command("ps", "--json", token_file=under_test.private("ada", admin))


def join(under_test: Guarded) -> None:
    """Add a worker whose join token is in its environment, as on a machine that others use."""
    printed = under_test.command("token", "create", "second", "--join")
    token = re.search(r"podling_join_\w+(\.\w+)?", printed)
    assert token is not None
    under_test.evidence.plant("join token", token[0])
    under_test.with_settings(PODLING_JOIN=token[0])
    under_test.start_worker("worker", "--runtime", "docker,process", "--allow-root-processes")
    under_test.wait_for_workers(1)
    credential = re.search(r"podling_worker_\w+", (under_test.directory / "worker/credential").read_text())
    assert credential is not None
    under_test.evidence.plant("credential of the node", credential[0])


def make_rules(under_test: Guarded) -> None:
    evidence = under_test.evidence
    hook = f"http://127.0.0.1:9/hook?key={evidence.plant('key in the URL of a web hook', HOOK_KEY)}"
    proxy = f"http://me:{evidence.plant('password in the URL of a web hook', PROXY_PASSWORD)}@127.0.0.1:9/"
    secret = evidence.plant("alert's secret", ALERT_SECRET)
    assert under_test.ask("PUT", "/api/v1/alerts/ops", {"http": hook, "secret": secret})[0] == 201
    assert under_test.ask("PUT", "/api/v1/alerts/mail", {"mail": ["me@example.org"]})[0] == 201
    assert under_test.ask("PUT", "/api/v1/alerts/proxy", {"http": proxy})[0] == 400
    for name in ("ops", "mail"):
        assert under_test.ask("POST", f"/api/v1/alerts/{name}/test")[0] == 200


def send_what_is_refused(under_test: Guarded) -> None:
    """Show tokens that are none, and put secrets where they do not belong."""
    wrong = under_test.evidence.plant("wrong token", WRONG)
    denied = {"name": "x", "image": IMAGE, "network": "host"}
    assert under_test.ask("POST", "/api/v1/tasks", denied)[0] == 403
    for credential in (wrong, under_test.evidence.secrets["revoked token"]):
        assert under_test.ask("GET", "/api/v1/tasks", Authorization=f"Bearer {credential}")[0] == 401
        assert under_test.ask("GET", "/api/v1/tasks", Authorization="", X_Api_Key=credential)[0] >= 400
        assert under_test.ask("POST", "/api/v1/tasks", "{", Authorization=f"Basic {credential}")[0] == 401
        assert under_test.ask("GET", "/api/v1/tasks?limit=x", Cookie=credential)[0] == 400
    for token in (WRONG, SHARED):
        assert (
            under_test.ask("POST", "/api/v1/tokens", {"name": "x", "role": "none"}, X_Api_Key=token)[0] >= 400
        )


def run_tasks(under_test: Guarded) -> list[str]:
    """Let one task complete, one fail, one be cancelled, and one be a container; return their ids."""
    key = under_test.evidence.plant("idempotency key", KEY)
    process = {"name": "job", "runtime": "process"}
    specs = (
        process | {"command": ["sh", "-c", "env; cat /proc/$PPID/cmdline"]},
        process | {"command": ["sh", "-c", "env; exit 3"], "alerts": ["ops"]},
        process | {"command": ["sleep", "600"]},
        {"name": "box", "image": IMAGE, "command": ["sh", "-c", "env; sleep 600"]},
    )
    ids = []
    for number, spec in enumerate(specs):
        headers = {"Idempotency_Key": key} if number == 0 else {}
        status, text = under_test.ask("POST", "/api/v1/tasks", spec, **headers)
        assert status == 201, text
        ids.append(json.loads(text)["taskId"])
    assert under_test.ask("POST", "/api/v1/tasks", {"name": "x", "image": "y"}, Idempotency_Key=key)[0] == 409
    for task_id, state in zip(ids, ("completed", "failed", "running", "running"), strict=True):
        until(f"{task_id} is {state}", lambda: under_test.task(task_id)["status"] == state or None)  # noqa: B023
    return ids


def read(under_test: Guarded, ids: list[str]) -> None:
    """Read everything that there is to read, and look at what runs."""
    for path in READ:
        assert under_test.ask("GET", f"/{path}")[0] == 200, path
    for task_id in ids:
        for part in ("", "/attempts", "/timeline", "/explain", "/logs"):
            assert under_test.ask("GET", f"/api/v1/tasks/{task_id}{part}")[0] == 200, part
    for path in ("/health", "/metrics", f"/api/v1/tasks/{ids[-1]}/status", f"/api/v1/tasks/{ids[-1]}/logs"):
        assert under_test.ask("GET", path, worker="worker")[0] == 200, path
    under_test.look_at_processes()
    under_test.look_at_containers()


def print_everything(under_test: Guarded, failed: str) -> None:
    for command in PRINTED:
        under_test.command(*command.split())
    for command in ("explain", "timeline", "logs"):
        under_test.command(command, failed, "--verbose")


def dump(postgres: DebianPostgres) -> str:
    options = ["--inserts", "--dbname", postgres.dsn]
    done = subprocess.run(
        [str(DEBIAN_BINARIES / "pg_dump"), *options], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def end(under_test: Guarded, ids: list[str]) -> None:
    for task_id in ids[2:]:
        assert under_test.ask("POST", f"/api/v1/tasks/{task_id}/cancel")[0] in (200, 202)
        until(f"{task_id} has ended", lambda: under_test.task(task_id)["status"] == "cancelled" or None)  # noqa: B023
    under_test.terminate("worker")
    under_test.terminate("master")


def log_a_password(under_test: Guarded) -> None:
    """Have the log tell of a file with a password in its name: only the log's own filter hides that."""
    password = under_test.evidence.plant("password in the name of a file", FILE_PASSWORD)
    file = under_test.private(f"password={password}", "a-token-that-is-planted-nowhere")
    file.chmod(0o644)
    for format in ("text", "json"):
        said = under_test.fails_to_start(
            PODLING_TOKEN_FILE=str(file),
            PODLING_LOG_FORMAT=format,
            DATABASE_URL="postgres://podling@127.0.0.1:9/podling",
        )
        assert "password=*** can be read by others" in said
    file.unlink()


def test_a_planted_secret_is_nowhere_but_where_it_must_be(engine: None, postgres: DebianPostgres) -> None:
    require(os.geteuid() == 0, "the tasks' process list and the runtime `process` need root")
    with programs("memory", kind=Guarded) as under_test:
        evidence = under_test.evidence = Evidence()
        start(under_test, postgres)
        make_tokens(under_test)
        join(under_test)
        make_rules(under_test)
        send_what_is_refused(under_test)
        ids = run_tasks(under_test)
        read(under_test, ids)
        postgres.break_off()
        until("the database is back", lambda: under_test.ask("GET", "/ready")[0] == 200 or None)
        under_test.kill("master")
        under_test.start_master()
        under_test.wait_for_workers(1)
        read(under_test, ids)
        print_everything(under_test, ids[1])
        end(under_test, ids)
        evidence.saw("database", dump(postgres))
        evidence.saw("log of the database", postgres.log())
        password = evidence.secrets["password of the database"]
        under_test.fails_to_start(DATABASE_URL=f"postgres://podling:{password}@127.0.0.1:9/podling")
        under_test.fails_to_start(DATABASE_URL=f"postgres://podling:{password}@127.0.0.1:nine/podling")
        under_test.fails_to_start(PODLING_SMTP_URL=f"smtp://podling:{SMTP_PASSWORD}@127.0.0.1:nine")
        log_a_password(under_test)
        under_test.look_at_files()
    seen = {place for place, _ in evidence.seen}
    assert any("PATH=" in text for place, text in evidence.seen if place.endswith("/ID/logs"))
    assert {"process list", "docker inspect", "file master.log 644", "file worker.log 644"} <= seen
    assert sorted(evidence.found()) == sorted(MAY_BE)
    hashes = [
        sha256(evidence.secrets[name].encode()).hexdigest() for name in ("admin's token", "revoked token")
    ]
    stored = next(text for place, text in evidence.seen if place == "database")
    assert all(text in stored for text in hashes)
