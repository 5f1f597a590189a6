"""Files are written whole or not at all, and nothing is overwritten unless asked."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_fundus.errors import NotAFileError, OutputExistsError

_TEMPORARY = ".napari-fundus-"


def raise_if_exists(path: Path, *, overwrite: bool) -> None:
    """Raise `OutputExistsError` if `path` exists and may not be overwritten."""
    if not overwrite and os.path.lexists(path):
        raise OutputExistsError(
            f"{path} exists already. Choose another place, or overwrite it (--overwrite)."
        )


def _temporary_path(path: Path, *, overwrite: bool) -> Path:
    """Return a hidden path in the folder of `path`, which is made; refuse what must not go."""
    raise_if_exists(path, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile.mkstemp: its files can be read by their owner alone, and stay so when renamed.
    return path.parent / f"{_TEMPORARY}{secrets.token_hex(6)}{path.suffix}"


@contextmanager
def atomic_write(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a hidden path beside `path` to write to; rename it to `path` when the block ends well.

    The file's content reaches the disk before its name does, so that not even a power cut leaves
    half a file. If the block raises, nothing is left behind and an older `path` stays as it was.
    Folders that are missing are made.

    Parameters
    ----------
    path
        Where the file shall be.
    overwrite
        Whether an existing file may be replaced.

    Yields
    ------
    Path
        A path in the same folder, with the same suffix, at which nothing exists yet.

    Raises
    ------
    OutputExistsError
        `path` exists, and `overwrite` is False.
    """
    path = Path(path)
    temporary = _temporary_path(path, overwrite=overwrite)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        raise_if_exists(path, overwrite=overwrite)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a hidden path beside `path` for a folder; rename it when the block ends well.

    As :func:`atomic_write`, for what is a folder of files. Where an older one is replaced and the
    process is killed between two renamings, there is none under that name.

    Parameters
    ----------
    path, overwrite
        As there.

    Yields
    ------
    Path
        As there; the block makes the folder.

    Raises
    ------
    OutputExistsError
        `path` exists, and `overwrite` is False.
    """
    path = Path(path)
    temporary = _temporary_path(path, overwrite=overwrite)
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with file.open("rb+") as written:
                    os.fsync(written.fileno())
        raise_if_exists(path, overwrite=overwrite)
        replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(source: Path, target: Path) -> None:
    """Rename the folder `source` to `target`; what is there is moved out of the way, then removed.

    Both lie on one file system. At no moment is there half a folder under the name of `target`.
    """
    if not os.path.lexists(target):
        source.replace(target)
        return
    aside = source.parent / f"{_TEMPORARY}{secrets.token_hex(6)}"
    target.replace(aside)
    source.replace(target)
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.unlink()


def remove_temporary_files(folder: str | Path) -> None:
    """Remove what writers that were killed have left in `folder`, in which nobody writes now."""
    for path in Path(folder).glob(f"{_TEMPORARY}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def check_is_file(path: str | Path) -> None:
    """Raise what opening `path` for reading would raise, and refuse what may never end.

    Whoever opens a pipe waits for a writer; some devices never end.

    Raises
    ------
    OSError
        There is no such file, or it must not be looked at.
    NotAFileError
        It is a pipe, a device, a socket or a folder.
    """
    try:
        mode = Path(path).stat().st_mode
    except ValueError as error:  # a name with a zero in it
        raise NotAFileError(f"{os.fspath(path)!r} is no name of a file: {error}.") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
        raise NotAFileError(f"{path} is {kind}, not a file.")


def read_bytes(path: str | Path) -> bytes:
    """Return the content of a file; raises as :func:`check_is_file`."""
    check_is_file(path)
    return Path(path).read_bytes()


def read_text(path: str | Path, *, encoding: str = "utf-8", errors: str = "strict") -> str:
    """Return the text of a file; raises as :func:`check_is_file`."""
    check_is_file(path)
    return Path(path).read_text(encoding=encoding, errors=errors)


def write_json(path: str | Path, content: Any, *, overwrite: bool = False, indent: int = 2) -> None:
    """Write `content` as JSON, as :func:`atomic_write` does; `indent` 0 puts all on one line.

    Raises
    ------
    OutputExistsError
        `path` exists, and `overwrite` is False.
    ValueError
        `content` holds NaN or an infinity, which JSON has no word for.
    """
    text = json.dumps(content, indent=indent or None, ensure_ascii=False, allow_nan=False)
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        # Names of files need not be Unicode; JSON can spell them all the same.
        text = json.dumps(content, indent=indent or None, allow_nan=False)
    with atomic_write(path, overwrite=overwrite) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Return what a JSON file holds.

    Raises
    ------
    ValueError
        It is not UTF-8, not JSON, or nested too deeply for a file that a person or program meant.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
