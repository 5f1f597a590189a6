"""Locks between processes, which end with the process that holds them, however it ends."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_fundus.errors import OutputExistsError

_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 600.0
"""Seconds after which a lock is not waited for any more: a rename takes milliseconds."""


@contextmanager
def lock_file(path: str | Path, *, patience: float = _PATIENCE_SECONDS) -> Iterator[None]:
    """Hold the lock that a file of this name stands for; the file is gone afterwards.

    Parameters
    ----------
    path
        A name at which no other file lies; its folder exists.
    patience
        Seconds to wait for others.

    Raises
    ------
    OutputExistsError
        Another process has held it all that time.
    """
    path = Path(path)
    started = time.monotonic()
    while (held := _acquire(path)) is None:
        if time.monotonic() - started > patience:
            raise OutputExistsError(
                f"Another run writes to {path.parent} (its lock is {path.name}). Wait for its end, "
                "or choose another folder."
            )
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        # Before it is unlocked: whoever waits for it sees that the name is another file's now.
        path.unlink(missing_ok=True)
        os.close(held)


def is_locked(path: str | Path) -> bool:
    """Whether a process holds the lock; a file that one has left behind does not count."""
    try:
        held = _acquire(Path(path)) if Path(path).exists() else -1
    except OSError:  # it lies in no folder
        return False
    if held == -1:
        return False
    if held is None:
        return True
    os.close(held)
    return False


def _acquire(path: Path) -> int | None:
    """Return the open file whose lock this process holds now; None where another has it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(file)
        # Whoever had it may have removed the name meanwhile.
        if os.path.samestat(os.fstat(file), path.stat()):
            return file
    except OSError:
        pass
    os.close(file)
    return None


def _lock(file: int) -> None:
    """Lock an open file, or raise OSError where another process has it."""
    try:
        import fcntl
    except ImportError:
        import msvcrt

        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
