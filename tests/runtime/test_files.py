"""Files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_fundus.errors import OutputExistsError
from napari_fundus.runtime.files import atomic_write, read_json, remove_temporary_files, write_json


def test_a_file_is_there_only_when_the_block_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "table.csv"
    with atomic_write(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.parent == path.parent
        assert temporary.suffix == path.suffix
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, MemoryError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file_and_no_other(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def write_half() -> None:
        with atomic_write(path, overwrite=True) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_overwritten_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    write_json(path, {"a": 1})
    with pytest.raises(OutputExistsError, match=r"table\.json exists already"):
        write_json(path, {"a": 2})
    assert "1" in path.read_text()
    write_json(path, {"a": 2}, overwrite=True)
    assert "2" in path.read_text()


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"

    def write_too_late() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("ours")
            path.write_text("another's")

    with pytest.raises(OutputExistsError):
        write_too_late()
    assert path.read_text() == "another's"
    assert list(tmp_path.iterdir()) == [path]


def test_the_owner_is_not_the_only_one_who_may_read(tmp_path: Path) -> None:
    plain, atomic = tmp_path / "plain", tmp_path / "atomic"
    plain.write_text("x")
    with atomic_write(atomic) as temporary:
        temporary.write_text("x")
    assert atomic.stat().st_mode == plain.stat().st_mode


def test_json_refuses_what_others_could_not_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_json_that_is_nothing_but_nesting_is_told_as_damage(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(path)


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "state.bin") as temporary:
        temporary.write_bytes(b"whole")
        left = temporary.with_name(temporary.name.replace(temporary.stem, f"{temporary.stem}0"))
        left.write_bytes(b"ha")
    (tmp_path / ".mine").write_bytes(b"hidden")
    remove_temporary_files(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"state.bin", ".mine"}
    remove_temporary_files(tmp_path / "absent")
