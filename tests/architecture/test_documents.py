"""The documents point at things that are there: files, headings, tests."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.md")])

DEFINITION = re.compile(r"^\s*(?:async )?(?:def|class) (\w+)", re.MULTILINE)
LAW = re.compile(r"^\| (I\d+) \|(.*)\|$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
NAMED_TEST = re.compile(r"`(tests/[\w/.-]+\.py)(?:::([\w:]+))?`")
NAMED_FILE = re.compile(r"`((?:podling|bin|cmd|bench|examples|docs)/[\w/.-]+\.\w+)(?:::\w+)?`")


def names(documents: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in documents]


def prose(path: Path) -> str:
    return CODE_BLOCK.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+\s+(.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken_link(document: Path, target: str) -> bool:
    if re.match(r"https?://(127\.0\.0\.1|localhost)|mailto:", target):
        return False
    name, _, anchor = target.partition("#")
    path = (document.parent / name).resolve() if name else document
    if not path.exists():
        return True
    return bool(anchor) and path.suffix == ".md" and anchor not in anchors(path)


def test_there_are_documents() -> None:
    wanted = "README.md CONTRIBUTING.md CHANGELOG.md docs/tour.md docs/architecture.md docs/api.md".split()
    wanted += "docs/operations.md docs/laws.md docs/contract.md docs/benchmarks.md docs/cli.md".split()
    assert set(wanted) <= set(names(DOCUMENTS))


@pytest.mark.parametrize("name", names(DOCUMENTS))
def test_every_link_leads_somewhere(name: str) -> None:
    path = ROOT / name
    assert [target for target in LINK.findall(prose(path)) if broken_link(path, target)] == []


@pytest.mark.parametrize("name", names(DOCUMENTS))
def test_every_named_file_is_there(name: str) -> None:
    named = set(NAMED_FILE.findall(prose(ROOT / name)))
    assert sorted(file for file in named if not (ROOT / file).exists()) == []


@pytest.mark.parametrize("name", names(DOCUMENTS))
def test_every_named_test_is_there(name: str) -> None:
    missing = [
        f"{file}::{test}" for file, test in NAMED_TEST.findall(prose(ROOT / name)) if not has_test(file, test)
    ]
    assert missing == []


def has_test(file: str, test: str) -> bool:
    path = ROOT / file
    if not path.is_file():
        return False
    defined = re.findall(
        r"^\s*(?:async )?(?:def|class) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE
    )
    return all(part in defined for part in test.split("::") if part)


def test_every_law_names_a_test_or_says_that_it_is_not_there_yet() -> None:
    rows = re.findall(
        r"^\| (I\d+) \|(.*)\|$", (ROOT / "docs/laws.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [law for law, _ in rows] == [f"I{number}" for number in range(1, 44)]
    assert [law for law, row in rows if not NAMED_TEST.search(row) and "not yet" not in row] == []
