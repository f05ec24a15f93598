"""A real master of each kind, with and without a token, and the document that it serves."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.cli.masters import running_master

TOKEN = "0123456789abcdef0123456789abcdef"
DOORS = list(product(("memory", "postgres"), ("open", "token")))


@dataclass(frozen=True)
class Door:
    """A master's address, and what has to be sent to be let in."""

    url: str
    headers: dict[str, str]

    def get(self, path: str) -> str:
        with urlopen(Request(self.url + path, headers=self.headers), timeout=30) as response:
            return str(response.read().decode())

    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.get("/openapi.json")))


@pytest.fixture(scope="module", params=DOORS, ids="-".join)
def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    store, kind = request.param
    if kind == "open":
        with running_master(store) as url:
            yield Door(url, {})
        return
    file: Path = tmp_path_factory.mktemp("token") / "token"
    file.write_text(TOKEN)
    with running_master(store, "--token-file", str(file)) as url:
        yield Door(url, {"Authorization": f"Bearer {TOKEN}"})
