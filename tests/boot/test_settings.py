from collections.abc import Mapping
from pathlib import Path

import pytest

from podling.boot.settings import MasterSettings, WorkerSettings, read_master, read_worker
from podling.core.access import is_loopback
from podling.core.errors import ConfigurationError

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def master(*argv: str, **environ: str) -> MasterSettings:
    return read_master(argv, environ)


def worker(*argv: str, **environ: str) -> WorkerSettings:
    return read_worker(argv, environ)


def faults_of(*argv: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read_master(argv, environ)
    faults = caught.value.details["faults"]
    assert all(fault in caught.value.message for fault in faults)
    return list(faults)


def test_defaults_of_the_master_are_those_of_the_contract() -> None:
    settings = master(HOME="/home/ada")
    assert (settings.host, settings.port, settings.lease_seconds) == ("127.0.0.1", 8070, 12.0)
    assert (settings.store_type, settings.database_url) == ("memory", None)
    assert settings.data_dir == Path("/home/ada/.local/share/podling/master")
    assert "lost when this master ends" in settings.notices[0]


def test_defaults_of_the_worker_are_those_of_the_contract() -> None:
    settings = worker(XDG_DATA_HOME="/data")
    assert (settings.host, settings.port, settings.node_id) == ("127.0.0.1", 8071, None)
    assert settings.master_urls == ("http://127.0.0.1:8070",)
    assert settings.runtimes == ("docker",)
    assert settings.data_dir == Path("/data/podling/worker")
    assert (settings.heartbeat_interval, settings.shutdown_timeout) == (None, 30.0)


def test_flag_wins_over_environment_over_config_over_dot_env_over_default(tmp_path: Path) -> None:
    Path(".env").write_text("PODLING_PORT=1\nPODLING_LOG_LEVEL=debug\nOTHER=ignored\n")
    assert master().port == 1
    config = tmp_path / "master.conf"
    config.write_text("port = 2\n")
    assert master("--config", str(config)).port == 2
    assert master("--config", str(config), PODLING_PORT="3").port == 3
    assert master("--config", str(config), "--port", "4", PODLING_PORT="3").port == 4
    assert master(PODLING_CONFIG=str(config)).log_level == "debug"


@pytest.mark.parametrize("line", ["lease-seconds = 3", "PODLING_LEASE_SECONDS=3s", "lease-seconds='3'"])
def test_config_file_takes_flag_and_variable_names(tmp_path: Path, line: str) -> None:
    config = tmp_path / "master.conf"
    config.write_text(f"# a comment\n\n{line}  # and another\n")
    assert master("--config", str(config)).lease_seconds == 3.0


def test_config_file_with_an_unknown_name_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "master.conf"
    config.write_text("prot = 8070\n")
    assert faults_of("--config", str(config)) == [
        f"'prot' in {config} is not a setting of podling-master; see podling-master --help"
    ]


def test_config_file_that_is_missing_or_malformed_is_told(tmp_path: Path) -> None:
    assert "No such file" in faults_of("--config", "nowhere.conf")[0]
    (tmp_path / "bad.conf").write_text("port = 1\nport 2\n")
    assert "line 2 is not of the form name = value" in faults_of("--config", "bad.conf")[0]


def test_all_faults_are_told_together_and_each_names_its_setting() -> None:
    faults = faults_of("--port", "abc", "--lease-seconds", "long", "--what", STORE_TYPE="redis")
    assert len(faults) == 4
    told = "\n".join(faults)
    for name in (
        "--port (PODLING_PORT)",
        "--lease-seconds (PODLING_LEASE_SECONDS)",
        "'--what'",
        "STORE_TYPE",
    ):
        assert name in told
    assert "write a whole number from 0 to 65535" in told


def test_the_days_of_ended_tasks_are_a_number_above_zero() -> None:
    assert master().keep_ended_days == 30
    assert master("--keep-ended-days", "7").keep_ended_days == 7
    assert master(PODLING_KEEP_ENDED_DAYS="0.5").keep_ended_days == 0.5
    for wrong in ("0", "-1", "ever", "1e3", "99999"):
        (fault,) = faults_of("--keep-ended-days", wrong)
        assert "write 30, or 0.5 for half a day" in fault


def test_postgres_needs_an_address() -> None:
    assert "DATABASE_URL" in faults_of(STORE_TYPE="postgres")[0]
    settings = master(STORE_TYPE="postgres", DATABASE_URL="embedded:/var/lib/podling")
    assert (settings.store_type, settings.database_url) == ("postgres", "embedded:/var/lib/podling")
    assert settings.notices == ()


def test_an_address_without_a_store_type_stays_in_memory_and_says_so() -> None:
    settings = master(DATABASE_URL="postgres://podling@localhost/podling")
    assert settings.store_type == "memory"
    assert "STORE_TYPE=postgres" in settings.notices[0]


def test_flags_may_name_the_store_too() -> None:
    settings = master("--store-type", "postgres", "--database-url", "postgresql://localhost/podling")
    assert settings.database_url == "postgresql://localhost/podling"


def test_lists_may_be_read_from_another_server() -> None:
    assert master().database_read_url is None
    settings = master(DATABASE_READ_URL="postgres://podling:hunter22@standby/podling")
    assert settings.database_read_url == "postgres://podling:hunter22@standby/podling"
    assert "hunter22" not in repr(settings)
    (fault,) = faults_of(DATABASE_READ_URL="embedded:/var/lib/podling")
    assert "DATABASE_READ_URL" in fault and "postgres://" in fault


def test_no_password_is_told_or_shown() -> None:
    (fault,) = faults_of(DATABASE_URL="mysql://podling:hunter22@db/podling")
    assert "hunter22" not in fault
    settings = master(STORE_TYPE="postgres", DATABASE_URL="postgres://podling:hunter22@db/podling")
    assert "hunter22" not in repr(settings)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "master.example.org"])
def test_without_a_token_only_loopback_is_listened_on(host: str, tmp_path: Path) -> None:
    assert "--token-file" in faults_of("--host", host)[0]
    with pytest.raises(ConfigurationError):
        worker("--host", host)
    (tmp_path / "token").write_text(TOKEN + "\n")
    assert master("--host", host, "--token-file", "token").token == TOKEN
    database = ("--store-type", "postgres", "--database-url", "postgres://db/podling")
    assert master("--host", host, *database).token is None, "the store may hold tokens, and is asked"


@pytest.mark.parametrize("content", ["", "short", "two words that are long enough", "schlüssel" * 5])
def test_a_token_file_without_a_token_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(content)
    assert "holds no token" in faults_of("--token-file", "token")[0]


def test_a_token_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    assert TOKEN not in repr(master("--token-file", "token"))
    assert TOKEN not in repr(worker("--token-file", "token"))


def test_certificate_and_key_go_together(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("")
    assert faults_of("--tls-cert", "cert.pem") == [
        "--tls-cert and --tls-key (PODLING_TLS_CERT, PODLING_TLS_KEY) go together; give both or none"
    ]
    assert "there is no file" in faults_of("--tls-cert", "cert.pem", "--tls-key", "key.pem")[0]
    files = ["--tls-cert", "cert.pem", "--tls-key", "cert.pem"]
    assert faults_of(*files, "--tls-self-signed") == [
        "--tls-self-signed makes a certificate, and --tls-cert brings one; choose one of them"
    ]
    (unused,) = faults_of("--tls-client-ca", "cert.pem")
    assert "is of no use without https" in unused
    with pytest.raises(ConfigurationError, match=r"--tls-ca \(PODLING_TLS_CA\): there is no file"):
        worker("--tls-ca", "ca.pem")


@pytest.mark.parametrize(
    ("given", "seconds"), [("5", 5.0), ("5s", 5.0), ("500ms", 0.5), ("1m30s", 90.0), ("2.5", 2.5)]
)
def test_durations_are_seconds_or_have_units(given: str, seconds: float) -> None:
    assert worker("--heartbeat-interval", given).heartbeat_interval == seconds


@pytest.mark.parametrize("given", ["-1", "0", "1e9", "nan", "5 s", "s", "٣"])
def test_durations_out_of_range_or_form_are_refused(given: str) -> None:
    with pytest.raises(ConfigurationError, match="--heartbeat-interval"):
        worker(f"--heartbeat-interval={given}")


def test_lists_are_repeated_flags_or_separated_by_commas() -> None:
    settings = worker("--label", "zone=a", "--label", "disk=ssd", "--runtime", "docker,process")
    assert settings.labels == {"zone": "a", "disk": "ssd"}
    assert settings.runtimes == ("docker", "process")
    settings = worker(PODLING_LABEL="zone=a, disk=ssd", PODLING_MASTER_URL="http://a:8070/,https://b")
    assert settings.labels == {"zone": "a", "disk": "ssd"}
    assert settings.master_urls == ("http://a:8070", "https://b")


def test_who_brings_functions_runs_them_and_nothing_else_that_was_not_named() -> None:
    settings = worker("--handlers", "shop.tasks,mail", "--handlers", "more", "--handler-processes", "3")
    assert settings.handlers == ("shop.tasks", "mail", "more")
    assert (settings.runtimes, settings.handler_processes) == (("python",), 3)
    assert worker(PODLING_HANDLERS="a", PODLING_RUNTIME="docker").runtimes == ("docker", "python")
    with pytest.raises(ConfigurationError, match="--runtime python needs --handlers"):
        worker("--runtime", "python")


def test_statements_run_in_databases_that_were_listed_and_only_if_the_runtime_was_named() -> None:
    url = "postgres://app:secret@db/shop"
    settings = worker("--runtime", "docker,sql", "--database", f"shop={url}", "--database-connections", "9")
    assert settings.databases == {"shop": url}
    assert (settings.runtimes, settings.database_connections) == (("docker", "sql"), 9)
    assert worker("--database", f"shop={url}", DATABASE_URL="mysql://x").databases == {}
    settings = worker(
        "--runtime", "sql", DATABASE_URL=url, PODLING_DATABASE="a=postgres://a/a b=postgres://b/b"
    )
    assert settings.databases == {"default": url, "a": "postgres://a/a", "b": "postgres://b/b"}
    settings = worker("--runtime", "sql", "--database", "default=embedded:var", DATABASE_URL=url)
    assert settings.databases == {"default": "embedded:var"}
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ((), "--runtime sql needs --database NAME=URL, or DATABASE_URL"),
        (("--database", "shop-=postgres://a/a"), "write NAME=postgres://"),
        (("--database", "shop=mysql://app:secret@db/shop"), "write postgres://"),
        (("--database", "shop=postgres://app:se/cret@db/shop"), "the database shop: a password"),
        (("--database-url", "mysql://app:secret@db/shop"), "the database default: write postgres://"),
    ],
)
def test_a_database_that_cannot_be_one_ends_the_start(flags: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        worker("--runtime", "sql", *flags)
    assert sentence in caught.value.message
    assert "cret" not in caught.value.message


def test_quantities_are_read_as_millicores_and_bytes() -> None:
    settings = worker("--cpu", "1500m", "--memory", "2Gi", "--capacity", "4")
    assert (settings.cpu, settings.memory, settings.capacity) == (1500, 2 * 2**30, 4)


def test_the_engine_s_own_variable_is_read_after_ours() -> None:
    assert worker(DOCKER_HOST="unix:///a").docker_host == "unix:///a"
    assert worker(DOCKER_HOST="unix:///a", PODLING_DOCKER_HOST="unix:///b").docker_host == "unix:///b"


BAD_WORKER_SETTINGS: Mapping[str, str] = {
    "--port": "65536",
    "--cpu": "0",
    "--memory": "1Xi",
    "--capacity": "-1",
    "--label": "zone",
    "--runtime": "podman",
    "--handlers": "shop-tasks",
    "--handler-processes": "0",
    "--master-url": "localhost:8070",
    "--node-id": "../up",
    "--hostname": "a b",
    "--database": "postgres://localhost",
    "--database-connections": "0",
    "--log-format": "xml",
}


@pytest.mark.parametrize("flag", BAD_WORKER_SETTINGS)
def test_a_bad_worker_setting_is_named(flag: str) -> None:
    with pytest.raises(ConfigurationError, match=flag):
        worker(f"{flag}={BAD_WORKER_SETTINGS[flag]}")


@pytest.mark.parametrize("url", ["http://", "ftp://a", "http://a:99999", "http://a:0", "http://u:p@a", "a"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="--master-url"):
        worker("--master-url", url)


def test_a_flag_without_its_value_is_a_sentence() -> None:
    with pytest.raises(ConfigurationError, match="--port: expected one argument; see podling-master --help"):
        master("--port")


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert master(PODLING_PORT="", STORE_TYPE="").port == 8070


def test_advertised_address_follows_what_was_bound(tmp_path: Path) -> None:
    assert master("--port", "0").advertised(4711) == "http://127.0.0.1:4711"
    assert master("--host", "::1").advertised(8070) == "http://[::1]:8070"
    assert master("--advertise-url", "https://m.example.org/").advertised(1) == "https://m.example.org"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)],
)
def test_loopback_addresses_are_known(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_print_and_end_well(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        master(flag)
    assert ended.value.code == 0
    assert "podling-master" in capsys.readouterr().out


def test_gpus_are_counted_by_their_ids() -> None:
    settings = worker(PODLING_GPU="0,GPU-8932f937,0")
    assert (settings.gpus, dict(settings.resources)) == (("0", "GPU-8932f937"), {"gpu": 2})
    for bad in ({"PODLING_GPU": "a b"}, {"PODLING_GPU": "0", "PODLING_RESOURCE": "gpu=2"}):
        with pytest.raises(ConfigurationError, match="--gpu"):
            worker(**bad)


def test_countable_resources_are_read_and_checked() -> None:
    assert dict(worker(PODLING_RESOURCE="gpu=2,licence=1").resources) == {"gpu": 2, "licence": 1}
    for wrong in ("gpu", "gpu=-1", "gpu=x", "cpu=2", "slots=1", "=1"):
        with pytest.raises(ConfigurationError, match="--resource"):
            worker(PODLING_RESOURCE=wrong)


def test_a_token_that_others_can_read_is_told_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "my token"
    file.write_text("a-token-of-enough-characters")
    for read in (master, worker):
        for mode, told in ((0o600, False), (0o640, True), (0o604, True)):
            file.chmod(mode)
            notices = read("--token-file", str(file)).notices
            assert any(f"chmod 600 '{file}'" in notice for notice in notices) is told, oct(mode)
