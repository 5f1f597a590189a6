"""Readers that fail on purpose: they show that the harness sees what it is there to see."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from napari_fundus.errors import DatasetError

__all__ = ["FAULTY_READERS"]


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


def _exhausts_memory(_: Path) -> object:
    return [np.ones(1 << 27, np.uint8) for _ in range(1000)]


def _exhausts_memory_silently(folder: Path) -> object:
    try:
        return _exhausts_memory(folder)
    except MemoryError as error:
        raise DatasetError("It is damaged.") from error


def _reads_outside_folder(folder: Path) -> object:
    return (folder / "../../../../../../../../../../etc/hostname").read_bytes()


def _opens_socket(_: Path) -> object:
    import socket

    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", 9))


FAULTY_READERS: Mapping[str, Callable[[Path], object]] = {
    "toy-sound": _sound,
    "toy-raises": _raises,
    "toy-dies": _dies,
    "toy-hangs": _hangs,
    "toy-swells": _exhausts_memory,
    "toy-swells-quietly": _exhausts_memory_silently,
    "toy-strays": _reads_outside_folder,
    "toy-phones": _opens_socket,
}
