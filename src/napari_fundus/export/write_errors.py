"""The boundary at which everything that goes wrong inside a writer becomes an error of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_fundus.errors import ExportError, FundusError


@contextmanager
def export_errors(path: str | Path) -> Iterator[None]:
    """Raise what a library raises within the block as `ExportError` with the file's name.

    Errors of ours, a lack of memory and what ends the program pass unchanged.
    """
    try:
        yield
    except (FundusError, MemoryError):
        raise
    except OSError as error:
        raise ExportError(
            f"{path} could not be written: {error.strerror or error}. Free some space, or choose "
            "another folder."
        ) from error
    except Exception as error:
        raise ExportError(
            f"{path} could not be written: {type(error).__name__}: {error}. Choose another format, "
            "and report this."
        ) from error
