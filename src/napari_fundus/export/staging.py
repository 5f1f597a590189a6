"""Files of one result, written aside and then moved into place together, one run at a time."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from napari_fundus.runtime.files import raise_if_exists, read_json, replace_folder
from napari_fundus.runtime.locks import is_locked, lock_file

_JOURNAL, _OWNER, _LOCK = "moves.json", "owner.lock", "lock"


@contextmanager
def staging_folder(folder: Path, stem: str) -> Iterator[Path]:
    """Give a hidden folder of its own to write the files of `stem` to; it is gone afterwards.

    It stays where renaming was cut off, to tell which files in place are of that run.

    Parameters
    ----------
    folder
        Where the files will be.
    stem
        What their names begin with.
    """
    shared = _shared(folder, stem)
    staging = shared / secrets.token_hex(4)
    while not staging.exists():
        # Another run that ends may remove the empty folder in between.
        with suppress(FileNotFoundError):
            shared.mkdir(exist_ok=True)
            staging.mkdir()
    moved = False
    try:
        with lock_file(staging / _OWNER):
            yield staging
        moved = True
    finally:
        if moved or not (staging / _JOURNAL).exists():
            shutil.rmtree(staging, ignore_errors=True)
        with suppress(OSError):  # another run is at work in it, or this one was cut off
            shared.rmdir()


def check_free(target: Path, folder: Path, stem: str, *, overwrite: bool) -> None:
    """Raise `OutputExistsError` for a file that is there, unless it may be replaced.

    Without being asked, only what a run was moving into place when it was killed is replaced: its
    staging folder tells names, sizes and times.
    """
    if overwrite:
        return
    if target.exists() and any(
        _stamp(target) == _journal(left).get(target.name) for left in _left_behind(folder, stem)
    ):
        return
    raise_if_exists(target, overwrite=False)


def move_into_place(
    staging: Path,
    targets: Collection[Path],
    folder: Path,
    stem: str,
    *,
    overwrite: bool,
    remove: Collection[Path] = (),
) -> None:
    """Rename what was written; the last of the targets tells that all are there.

    Parameters
    ----------
    staging
        As of :func:`staging_folder`.
    targets
        Places of the files, which have the same names in `staging`.
    folder, stem
        As there.
    overwrite
        Whether files that are there may be replaced.
    remove
        Files of an earlier result that have no successor.

    Raises
    ------
    OutputExistsError
        Another run, or a person, has put a file there meanwhile; nothing was changed.
    """
    *_, last = targets
    with lock_file(_shared(folder, stem) / _LOCK):
        for target in targets:
            check_free(target, folder, stem, overwrite=overwrite)
        stamps = {target.name: _stamp(staging / target.name) for target in targets}
        (staging / _JOURNAL).write_text(json.dumps(stamps), encoding="utf-8")
        last.unlink(missing_ok=True)
        for path in remove:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for target in targets:
            made = staging / target.name
            if made.is_dir():
                replace_folder(made, target)
            else:
                made.replace(target)
        for left in _left_behind(folder, stem):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:  # of versions that wrote to the shared folder
                left.unlink(missing_ok=True)


def _shared(folder: Path, stem: str) -> Path:
    """Return the folder in which each run has a staging folder of its own."""
    return folder / f".{stem}.partial"


def _left_behind(folder: Path, stem: str) -> list[Path]:
    """Return what runs that were killed have left in the shared folder."""
    shared = _shared(folder, stem)
    if not shared.is_dir():
        return []
    others = (path for path in shared.iterdir() if path.name != _LOCK)
    return [path for path in others if not is_locked(path / _OWNER)]


def _journal(staging: Path) -> dict[str, list[int]]:
    try:
        found = read_json(staging / _JOURNAL)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
