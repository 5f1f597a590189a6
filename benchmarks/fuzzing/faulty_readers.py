"""Readers that fail on purpose: they show that the harness sees what it is there to see."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from napari_fundus.errors import DatasetError

__all__ = ["TOYS"]


def _sound(folder: Path) -> object:
    if (folder / "file").read_bytes() != b"sound":
        raise DatasetError("It is not sound.")
    return None


def _raises(folder: Path) -> object:
    raise KeyError(folder)


def _dies(_: Path) -> object:
    os._exit(3)


def _hangs(_: Path) -> object:
    time.sleep(3600)
    return None


def _swells(_: Path) -> object:
    return [np.ones(1 << 27, np.uint8) for _ in range(1000)]


def _swells_quietly(folder: Path) -> object:
    try:
        return _swells(folder)
    except MemoryError as error:
        raise DatasetError("It is damaged.") from error


def _strays(folder: Path) -> object:
    return (folder / "../../../../../../../../../../etc/hostname").read_bytes()


def _phones(_: Path) -> object:
    import socket

    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", 9))


TOYS: Mapping[str, Callable[[Path], object]] = {
    "toy-sound": _sound,
    "toy-raises": _raises,
    "toy-dies": _dies,
    "toy-hangs": _hangs,
    "toy-swells": _swells,
    "toy-swells-quietly": _swells_quietly,
    "toy-strays": _strays,
    "toy-phones": _phones,
}
