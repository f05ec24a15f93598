"""SQL by name: each file in `sql/` holds sections that begin with a line `-- name: …`."""

import re
from functools import cache
from importlib import resources
from types import SimpleNamespace

_SECTION = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def load(name: str) -> SimpleNamespace:
    """Return the sections of `sql/<name>.sql` as attributes."""
    text = (resources.files(__package__) / "sql" / f"{name}.sql").read_text()
    _, *parts = _SECTION.split(text)
    return SimpleNamespace(**dict(zip(parts[::2], map(str.strip, parts[1::2]), strict=True)))
