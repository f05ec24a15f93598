"""Files that are whole, or not there; and nobody else's."""

import os
from pathlib import Path

import pytest

from podling.core.errors import InvalidInput
from podling.kit.files import Draft


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_takes_its_place_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with Draft(path, replace=True) as draft:
        draft.file.write(b"after that")
        assert path.read_text() == "before"
        assert draft.finish() == len(b"after that")
    assert (path.read_text(), names(tmp_path)) == ("after that", ["file"])
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_there_is_replaced_only_when_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(InvalidInput, match=r"file is there already: name another .* --force"), Draft(path):
        pytest.fail("it was opened")
    assert (path.read_text(), names(tmp_path)) == ("before", ["file"])


def test_what_appeared_meanwhile_is_not_replaced_either(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(InvalidInput, match="is there already"), Draft(path) as draft:
        path.write_text("of somebody else")
        draft.finish()
    assert (path.read_text(), names(tmp_path)) == ("of somebody else", ["file"])


def test_one_that_was_left_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Draft(tmp_path / "file") as draft:
        draft.file.write(b"half")
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_a_link_under_its_name_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podling.kit.files.secrets.token_hex", lambda size: "guessed")
    (tmp_path / "victim").write_text("keep")
    (tmp_path / ".file.guessed.part").symlink_to(tmp_path / "victim")
    with pytest.raises(InvalidInput, match=r"file cannot be written: File exists"), Draft(tmp_path / "file"):
        pytest.fail("it was opened")
    assert (tmp_path / "victim").read_text() == "keep"


def test_the_new_name_is_on_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[str, bool]] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        real(descriptor)
        synced.append((os.readlink(f"/proc/self/fd/{descriptor}"), (tmp_path / "file").exists()))

    monkeypatch.setattr("podling.kit.files.os.fsync", note)
    with Draft(tmp_path / "file") as draft:
        draft.finish()
    assert [there for _, there in synced] == [False, True]
    assert synced[1][0] == str(tmp_path.resolve())
