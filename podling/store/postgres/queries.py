"""SQL by name: each file in `sql/` holds sections that begin with a line `-- name: …`.

A line `-- include: …` stands for a section of the same file that comes before it.
"""

import re
from functools import cache
from importlib import resources
from types import SimpleNamespace

_SECTION = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_INCLUDE = re.compile(r"^-- include: (\w+)$", re.MULTILINE)


@cache
def load(name: str) -> SimpleNamespace:
    """Return the sections of `sql/<name>.sql` as attributes."""
    text = (resources.files(__package__) / "sql" / f"{name}.sql").read_text()
    _, *parts = _SECTION.split(text)
    sections: dict[str, str] = {}
    for section, sql in zip(parts[::2], parts[1::2], strict=True):
        sections[section] = _INCLUDE.sub(lambda line: sections[line[1]], sql.strip())
    return SimpleNamespace(**sections)
