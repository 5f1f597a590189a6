"""A lock is held by one, and gone with its process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from napari_fundus.errors import OutputExistsError
from napari_fundus.runtime.locks import is_locked, lock_file

HOLDER = """
import os, sys
from napari_fundus.runtime.locks import lock_file
with lock_file(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
    if sys.argv[2] == "die":
        os._exit(9)
"""


def test_a_lock_leaves_nothing_and_can_be_taken_again(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    for _ in range(2):
        assert not is_locked(path)
        with lock_file(path):
            assert path.exists()
        assert not path.exists()
    assert not is_locked(tmp_path / "no folder" / "lock")


@pytest.mark.parametrize("end", ["leave", "die"])
def test_another_process_is_waited_for_and_its_death_ends_the_lock(
    end: str, tmp_path: Path
) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, str(path), end]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_locked(path)
        with pytest.raises(OutputExistsError, match="Another run"), lock_file(path, patience=0):
            pass
        holder.stdin.write("\n")
        holder.stdin.flush()
        with lock_file(path):
            assert path.exists()
    assert not path.exists()
    assert not is_locked(path)
