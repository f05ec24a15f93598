"""Several databases by flag, variable, YAML or JSON: read whole, or refused with a sentence."""

import json
from pathlib import Path
from typing import Any

import pytest

from podling.boot.databases import Database, databases, each
from podling.boot.settings import MasterSettings, read_master
from podling.core.errors import ConfigurationError

SHOP = {"name": "shop", "host": "db.example", "database": "shop", "user": "ada", "password": "p/w@1"}
LAB = {"name": "lab", "url": "embedded:/data/lab"}


def read(*argv: str, **environ: str) -> MasterSettings:
    return read_master(argv, {"HOME": "/home/ada", **environ})


def fault(*argv: str, **environ: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(*argv, **environ)
    return caught.value.message


def test_a_database_has_the_defaults_of_the_requirement() -> None:
    (shop,) = databases(json.dumps([SHOP]))
    assert shop == Database(name="shop", url="postgres://ada:p%2Fw%401@db.example:5432/shop")
    assert (shop.most_connections, shop.connection_seconds, shop.idle_seconds) == (25, 300.0, 600.0)
    assert shop.queues == ("1", "2", "3", "4")
    assert "p%2Fw" not in repr(shop)


def test_what_is_said_of_a_database_reaches_it() -> None:
    more = {"port": 5433, "sslmode": "require", "max_open_conns": 7, "conn_max_lifetime": "1m30s"}
    (shop,) = databases(json.dumps([SHOP | more | {"conn_max_idle_time": "20s", "queue_count": 1}]))
    assert shop.url.endswith("@db.example:5433/shop?sslmode=require")
    assert (shop.most_connections, shop.connection_seconds, shop.idle_seconds) == (7, 90.0, 20.0)
    assert shop.queues == ("1",)


def test_each_database_is_a_cluster_with_files_and_an_address_of_its_own() -> None:
    settings = read("--port", "8070", PODLING_DATABASES=json.dumps([SHOP, LAB]))
    assert settings.store_type == "postgres"
    assert not settings.notices
    found = each(settings)
    assert list(found) == ["shop", "lab"]
    assert found["lab"].database_url == "embedded:/data/lab"
    assert found["lab"].data_dir == settings.data_dir / "lab"
    assert found["lab"].advertised(8070) == "http://127.0.0.1:8070/lab"


def test_without_databases_there_is_the_one_of_the_settings() -> None:
    settings = read()
    assert each(settings) == {"": settings}


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json"])
def test_a_file_of_a_broker_says_it_all(tmp_path: Path, suffix: str) -> None:
    plain = {
        "port": 9000,
        "alert-hosts": ["a.example", "b.example"],
        "allow-simulated": True,
        "databases": [SHOP, LAB],
        "broker": {"name": "broker-1", "fetch_size": 100, "debug": True},
        "logging": {"format": "json"},
    }
    file = tmp_path / f"broker{suffix}"
    file.write_text(json.dumps(plain))
    settings = read("--config", str(file))
    assert (settings.port, settings.log_format, settings.log_level) == (9000, "json", "debug")
    assert settings.alert_hosts == ("a.example", "b.example")
    assert settings.allow_simulated
    assert [item.name for item in settings.databases] == ["shop", "lab"]
    assert read("--config", str(file), "--port", "1").port == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- 1", "must be a mapping of settings"),
        ("a: [", "line 2: it is neither YAML nor JSON"),
        ("[" * 5000, "it is nested too deeply"),
        ("logging: {colour: red}", "logging.colour is not known; it may have level, format"),
        ("broker: {speed: 1}", "broker.speed is not known"),
        ("port: {a: 1}", "port must be a text, a number or a list of them"),
        ("prot: 1", "'prot' in "),
    ],
)
def test_a_broken_file_is_refused_with_what_to_write(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "broker.yaml"
    file.write_text(text + "\n")
    assert sentence in fault("--config", str(file))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("no json", "it is no JSON"),
        ({}, "write a list of 1 to 32 databases"),
        ([], "write a list of 1 to 32 databases"),
        ([1], "database 1 is no object"),
        ([{"host": "h"}], "database 1 needs a name"),
        ([LAB | {"name": "api"}], "api, docs, health, metrics, ready are taken"),
        ([LAB | {"name": "../x"}], "small letters, digits and -"),
        ([LAB, LAB], "two databases are named 'lab'"),
        ([LAB | {"host": "h"}], "database lab: url says it all, so host cannot stand beside it"),
        ([{"name": "a", "user": "u"}], "database a: it needs database, or a url"),
        ([LAB | {"colour": 1}], "database lab: 'colour' is not known"),
        ([LAB | {"max_open_conns": 0}], "database lab: max_open_conns: '0' is not a whole number from 3"),
        ([LAB | {"queue_count": -1}], "queue_count: '-1' is not a whole number from 0 to 1000"),
        ([LAB | {"conn_max_lifetime": "soon"}], "conn_max_lifetime: 'soon' is not a duration"),
        ([SHOP | {"port": "x"}], "'x' is not a port"),
        ([{"name": "a", "url": "mysql://u:secret@h/d"}], "write postgres://"),
    ],
)
def test_a_broken_list_is_refused_with_what_to_write(given: Any, sentence: str) -> None:
    text = given if isinstance(given, str) else json.dumps(given)
    told = fault("--databases", text)
    assert sentence in told
    assert "secret" not in told


def test_one_database_beside_several_is_one_too_many() -> None:
    told = fault(DATABASE_URL="postgres://h/d", STORE_TYPE="memory", PODLING_DATABASES=json.dumps([LAB]))
    assert "--database-url (DATABASE_URL) is of one database" in told
    assert "leave out --store-type (STORE_TYPE)" in told
