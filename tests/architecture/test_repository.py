"""What holds for the repository as a whole: layers, sizes, and what must not stand in it."""

import re
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONGEST_FILE = 400

FOREIGN = {
    "a path of one machine": re.compile(r"(?<![\w.~])/(?:work|root|home/[a-z]+)/(?!ada\b)[a-z]"),
    "a public image registry": re.compile(
        r"\b(?:ghcr\.io|quay\.io|gcr\.io|registry-1\.docker\.io|docker\.io/)"
    ),
    "a package index": re.compile(r"\b(?:pypi\.org|files\.pythonhosted\.org|pypi\.python\.org)"),
}


def tracked_files() -> Iterator[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("this is no git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file() and path != Path(__file__).resolve():
            yield path


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def is_generated(path: Path) -> bool:
    return "Written by bin/generate-client" in text_of(path).partition("\n")[0]


def test_imports_go_down_only() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    checked = subprocess.run([program], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("folder", ["podling", "tests", "bench"])
def test_no_file_is_longer_than_400_lines(folder: str) -> None:
    written = (path for path in (ROOT / folder).rglob("*.py") if not is_generated(path))
    lengths = {path: len(text_of(path).splitlines()) for path in written}
    assert len(lengths) > 5
    assert {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > LONGEST_FILE} == {}


def test_cmd_holds_no_packages() -> None:
    """A package `cmd` would shadow the standard library's module of that name."""
    assert list((ROOT / "cmd").rglob("main.py")) != []
    assert list((ROOT / "cmd").rglob("__init__.py")) == []


@pytest.mark.parametrize("kind", FOREIGN)
def test_the_repository_names_no(kind: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in tracked_files()
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if FOREIGN[kind].search(line)
    ]
    assert found == []


def test_the_lock_file_pins_every_dependency_and_names_no_address() -> None:
    lines = [line for line in text_of(ROOT / "requirements.lock").splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in lines), lines
    pinned = {line.partition("==")[0] for line in lines}
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    named = project["dependencies"] + project["optional-dependencies"]["dev"]
    assert {re.split(r"[<>=\[]", name)[0].lower() for name in named} <= pinned


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "bin").iterdir()))
def test_a_helper_is_executable_and_parses(name: str) -> None:
    path = ROOT / "bin" / name
    assert path.stat().st_mode & stat.S_IXUSR
    first = text_of(path).splitlines()[0]
    if first.endswith("sh"):
        subprocess.run(["sh", "-n", path], check=True, timeout=10)
    else:
        compile(text_of(path), str(path), "exec")


TARGETS = (
    "setup demo run test lint fmt build dev clean run-cluster stop-cluster bench soak chaos"
    " sql-install".split()
)


@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_its_target(target: str) -> None:
    dry = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, timeout=10, check=False
    )
    assert dry.returncode == 0, dry.stderr
