"""Where weights come from: bundled with the package, the user's folder, a download, or a path."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from napari_fundus.checkpoints.card import ModelCard
from napari_fundus.checkpoints.file import Checkpoint, read_card, read_checkpoint
from napari_fundus.errors import CheckpointError
from napari_fundus.runtime.preferences import cache_folder

CHECKPOINT_SUFFIX = ".safetensors"
Origin = Literal["bundled", "user", "download"]


@dataclass(frozen=True)
class Download:
    """Weights that are fetched when first asked for.

    Attributes
    ----------
    name
        Name of the checkpoint; letters, digits, ``.``, ``_`` and ``-``.
    detector
        Which detector uses it.
    url
        Where the file is.
    sha256
        Of the file; another content is refused.
    size
        Bytes.
    summary
        One line for lists.
    """

    name: str
    detector: str
    url: str
    sha256: str
    size: int = 0
    summary: str = ""


@dataclass(frozen=True)
class CheckpointInfo:
    """One line of the list of checkpoints.

    Attributes
    ----------
    name
        To be given to :func:`load_checkpoint`.
    detector
        Which detector uses it; empty where the file is broken.
    origin
        ``"bundled"``, ``"user"`` or ``"download"``.
    path
        The file; None for a download that was not fetched yet.
    size
        Bytes.
    card
        The model card, where the file is here and sound.
    problem
        Why it cannot be used; empty if it can.
    """

    name: str
    detector: str
    origin: Origin
    path: Path | None
    size: int
    card: ModelCard | None = None
    problem: str = ""


_DOWNLOADS: dict[str, Download] = {}


def bundled_folder() -> Path:
    """Return the folder of the weights that ship with the package."""
    return Path(__file__).parents[1] / "weights"


def models_folder() -> Path:
    """Return the user's folder of weights, which need not exist.

    The environment variable ``NAPARI_FUNDUS_MODELS`` names another one.
    """
    if chosen := os.environ.get("NAPARI_FUNDUS_MODELS"):
        return Path(chosen)
    from platformdirs import user_data_path

    return user_data_path("napari-fundus", appauthor=False) / "models"


def download_folder() -> Path:
    """Return the folder of downloads, inside the preferred folder for caches."""
    folder = cache_folder("models")
    assert folder is not None  # noqa: S101  # there always is a default
    return folder


def register_download(download: Download) -> None:
    """Make weights known that are fetched when asked for; a detector's plugin may call this.

    Raises
    ------
    CheckpointError
        The name or the hash is malformed, or the name is taken by another file.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", download.name):
        raise CheckpointError(
            f"{download.name!r} is no name for a checkpoint: use letters, digits, . _ -"
        )
    if not re.fullmatch(r"[0-9a-f]{64}", download.sha256):
        raise CheckpointError(f"The download {download.name!r} needs the SHA-256 of its file.")
    if _DOWNLOADS.setdefault(download.name, download) != download:
        raise CheckpointError(f"Another download is called {download.name!r}; choose another name.")


def list_checkpoints() -> list[CheckpointInfo]:
    """Return all weights known here, sorted by detector and name; broken files say why.

    Only headers are read, so that the list is quick; :func:`load_checkpoint` verifies the rest.
    Of two with the same name the first counts: bundled, the user's, downloads.
    """
    found: dict[str, CheckpointInfo] = {}
    folders: tuple[tuple[Origin, Path], ...] = (
        ("bundled", bundled_folder()),
        ("user", models_folder()),
    )
    for origin, folder in folders:
        for path in sorted(folder.glob(f"*{CHECKPOINT_SUFFIX}")):
            found.setdefault(path.stem, _describe(path.stem, origin, path))
    for item in _DOWNLOADS.values():
        path = _cached(item)
        if path.is_file():
            info = _describe(item.name, "download", path)
        else:
            info = CheckpointInfo(item.name, item.detector, "download", None, item.size)
        found.setdefault(item.name, info)
    return sorted(found.values(), key=lambda info: (info.detector, info.name))


def load_checkpoint(ref: str | Path, *, detector: str | None = None) -> Checkpoint:
    """Return verified weights.

    Parameters
    ----------
    ref
        Path of a file, or the name of a checkpoint that is bundled, lies in the user's folder or
        can be downloaded. What has a separator or the suffix ``.safetensors`` is a path.
    detector
        Name of the detector that will use it.

    Raises
    ------
    CheckpointError
        There is none of that name, the file is not sound, it is for another detector, or it could
        not be downloaded.
    """
    checkpoint = read_checkpoint(_find(ref))
    if detector is not None and checkpoint.card.detector != detector:
        raise CheckpointError(
            f"{checkpoint.path} holds weights of the detector {checkpoint.card.detector!r}, not of "
            f"{detector!r}."
        )
    return checkpoint


class ResolvedCheckpoint(NamedTuple):
    """Where weights lie, and the SHA-256 of the file."""

    path: Path
    sha256: str


_MTIME_GUARD_SECONDS = 2.0
"""Seconds after which a file that is written again gets another time on any file system."""

_Stamp = tuple[int, ...]


def resolve_checkpoint(ref: str | Path, *, detector: str | None = None) -> ResolvedCheckpoint:
    """Return file and hash of weights, verified; quickly, where the file was read before.

    A file is taken for the one that was read as long as the system reports the same inode, size and
    times of change. One that was changed just now, or at a time to come, is always read.

    Parameters
    ----------
    ref, detector
        As of :func:`load_checkpoint`.

    Raises
    ------
    CheckpointError
        As :func:`load_checkpoint`.
    """
    path = _find(ref)
    stamp = _stamp(path)
    if stamp is None:
        return ResolvedCheckpoint(path, load_checkpoint(path, detector=detector).sha256)
    return ResolvedCheckpoint(path, _sha256(path, stamp, detector))


def _stamp(path: Path) -> _Stamp | None:
    """Return what changes with a file; None where that is not certain, or nothing is there."""
    try:
        state = path.stat()
    except OSError:
        return None  # to read it will tell why
    times = state.st_mtime_ns, state.st_ctime_ns
    if time.time_ns() - max(times) < _MTIME_GUARD_SECONDS * 1e9:
        return None
    return (state.st_dev, state.st_ino, state.st_size, *times)


@lru_cache(maxsize=16)
def _sha256(path: Path, stamp: _Stamp, detector: str | None) -> str:
    del stamp  # with another one the file is read anew
    return load_checkpoint(path, detector=detector).sha256


def _find(ref: str | Path) -> Path:
    path = Path(ref)
    # A registered name may hold a dot, as a version number does.
    if (
        isinstance(ref, Path)
        or path.name != ref
        or path.suffix == CHECKPOINT_SUFFIX
        or (path.suffix and path.exists())
    ):
        return path.expanduser()
    for folder in (bundled_folder(), models_folder()):
        path = folder / f"{ref}{CHECKPOINT_SUFFIX}"
        if path.is_file():
            return path
    if str(ref) in _DOWNLOADS:
        return _fetch(_DOWNLOADS[str(ref)])
    names = ", ".join(info.name for info in list_checkpoints()) or "none"
    raise CheckpointError(
        f"No checkpoint is called {str(ref)!r}. There are: {names}. A file is given by its path; "
        f"files in {models_folder()} are found by name."
    )


def _cached(download: Download) -> Path:
    return download_folder() / f"{download.name}-{download.sha256[:12]}{CHECKPOINT_SUFFIX}"


def _fetch(download: Download) -> Path:
    """Download the file, or return it from the cache where its hash is right."""
    import pooch
    import requests

    target = _cached(download)
    pooch.get_logger().setLevel("WARNING")
    try:
        fetched = pooch.retrieve(
            download.url,
            known_hash=f"sha256:{download.sha256}",
            fname=target.name,
            path=target.parent,
        )
    except (requests.RequestException, OSError) as error:
        raise CheckpointError(
            f"{download.name!r} could not be downloaded from {download.url}: {error}. Check the "
            f"network, or fetch the file by other means and put it into {models_folder()} as "
            f"{download.name}{CHECKPOINT_SUFFIX}."
        ) from error
    except ValueError as error:
        raise CheckpointError(
            f"What {download.url} sent is not the file that {download.name!r} stands for (its "
            "SHA-256 differs); it was deleted. Try again later, or report it."
        ) from error
    return Path(fetched)


def _describe(name: str, origin: Origin, path: Path) -> CheckpointInfo:
    try:
        size = path.stat().st_size
        card = read_card(path)
    except (CheckpointError, OSError) as error:
        return CheckpointInfo(name, "", origin, path, 0, problem=str(error))
    return CheckpointInfo(name, card.detector, origin, path, size, card)
