"""What a JPEG stream says before it is decoded: its size, and how many scans it has."""

from __future__ import annotations

import re
from pathlib import Path

from napari_fundus.errors import ImageBrokenError, ImageTooLargeError

MAX_SCANS = 100
"""Most scans that are decoded: each goes over the whole picture. Progressive ones have about 10."""

_MARKER = re.compile(rb"\xff+([^\xff\x00\x01\xd0-\xd7])")
"""A marker, but for those without a length that stand between coded data (RST and TEM)."""

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _START_OF_IMAGE, _END_OF_IMAGE = 0xDA, 0xD8, 0xD9


def check_jpeg(content: bytes, path: Path, *, at_most: tuple[int, int] | None = None) -> None:
    """Refuse a JPEG stream that would take its decoder without bound.

    Parameters
    ----------
    content
        The stream; what follows its end is not looked at.
    path
        For the message.
    at_most
        Height and width that its frame may have, where something around the stream states them.

    Raises
    ------
    ImageTooLargeError
        It has more than `MAX_SCANS` scans.
    ImageBrokenError
        Its frame is larger than `at_most`.
    """
    scans, position = 0, 0
    while (found := _MARKER.search(content, position)) is not None:
        marker, position = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            return
        if marker == _START_OF_IMAGE:
            continue
        if marker in _START_OF_FRAME and at_most is not None:
            height, width = (
                int.from_bytes(content[position + at : position + at + 2], "big") for at in (3, 5)
            )
            if height > at_most[0] or width > at_most[1]:
                raise ImageBrokenError(
                    f"{path} is damaged: it holds a JPEG of {width}x{height} px where "
                    f"{at_most[1]}x{at_most[0]} px are. Copy it again from its source."
                )
        scans += marker == _START_OF_SCAN
        if scans > MAX_SCANS:
            raise ImageTooLargeError(
                f"{path} is a JPEG of more than {MAX_SCANS} scans: it is damaged, or made to keep "
                "the reader busy. Save it anew in another program."
            )
        position += max(int.from_bytes(content[position : position + 2], "big"), 2)
