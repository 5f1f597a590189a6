"""Pictures whose decoders can't be bounded beforehand, decoded in a process with limits."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fundus import errors
from napari_fundus.errors import ImageBrokenError, ImageReadError, ImageTooLargeError

_MEMORY_BASE, _MEMORY_SHARE = 256 << 20, 6
"""Bytes that decoding may take: so many, and so many for each byte that the picture claims."""

_SECONDS_BASE, _SECONDS_PER_BYTE = 20.0, 1e-6
"""Seconds of the processor that it may take, likewise."""

_PATIENCE = 10
"""Seconds on the clock, for each of the processor's: others may keep it busy."""


def read_isolated(
    content: bytes, path: Path, *, claimed: int
) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """Read a picture in a process of its own, with limits on memory and time.

    It takes about half a second more. The limit on memory is the system's (POSIX); on Windows the
    time alone is limited.

    Parameters
    ----------
    content
        Of the file.
    path
        For messages.
    claimed
        Bytes that the picture takes by its header.

    Returns
    -------
    pixels, info
        As of `napari_fundus.image.read_pixels`.

    Raises
    ------
    ImageReadError
        As there; or the decoder took more than its limits, or died.
    """
    memory = _MEMORY_BASE + _MEMORY_SHARE * claimed
    seconds = _SECONDS_BASE + _SECONDS_PER_BYTE * claimed
    # -P: nothing is imported from the folder at hand, which may be that of the pictures.
    command = [sys.executable, "-P", "-m", f"{__package__}.decoder", str(memory), f"{seconds:.0f}"]
    try:
        done = subprocess.run(
            [*command, str(path)],
            input=content,
            capture_output=True,
            check=False,
            timeout=_PATIENCE * seconds,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired:
        raise ImageTooLargeError(_TOO_MUCH.format(path=path)) from None
    head, _, array = done.stdout.partition(b"\n")
    if done.returncode or not head:
        # The last line says which error it was; of a decoder that died there is none.
        reason = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:300]
        if "MemoryError" in reason or -done.returncode in _LIMIT_SIGNALS:
            raise ImageTooLargeError(_TOO_MUCH.format(path=path))
        raise ImageBrokenError(
            f"{path} is damaged: its decoder ended with status {done.returncode}. {reason}".strip()
        )
    answer = json.loads(head)
    if "error" in answer:
        kind: type[ImageReadError] = getattr(errors, answer["error"])
        raise kind(answer["message"])
    return np.load(io.BytesIO(array), allow_pickle=False), answer["info"]


_TOO_MUCH = (
    "{path} takes more memory or time to decode than a picture of its size should: it is damaged, "
    "or made to exhaust the reader. Save it as PNG or plain TIFF in another program."
)

_LIMIT_SIGNALS = frozenset({9, 24})
"""SIGKILL and SIGXCPU, with which a system ends what takes too much."""
