"""A cache of networks between images: built once, and used by one detection at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

from napari_fundus.checkpoints import Checkpoint, load_checkpoint, resolve_checkpoint
from napari_fundus.errors import CheckpointError
from napari_fundus.runtime.devices import Device, on_memory_release

_MAX_CACHED = 2
"""How many files' networks are kept: the one in use, and one that is compared with it."""

T = TypeVar("T")


class LoadedWeights:
    """A file of weights, and the networks made of it on one device.

    Parameters
    ----------
    whole
        The file as read.
    device
        Name of the device.

    Attributes
    ----------
    checkpoint
        The file without its tensors, which are in the networks.
    """

    def __init__(self, whole: Checkpoint, device: str) -> None:
        self.checkpoint = replace(whole, tensors={})
        self.device = device
        self._whole: Checkpoint | None = whole
        self._made: dict[str, Any] = {}

    def made(self, part: str, make: Callable[[Checkpoint], T]) -> T:
        """Return what `make` makes of the weights; of the same part it is made once.

        Parameters
        ----------
        part
            Name of the network among those of the file.
        make
            Called with the whole checkpoint. What it returns is used again by later detections:
            what one of them sets in it, each has to set.

        Raises
        ------
        CheckpointError
            A part is asked for later than others, and the file is not the same any more.
        """
        if part not in self._made:
            self._made[part] = make(self._read())
        return cast("T", self._made[part])

    def _read(self) -> Checkpoint:
        if self._whole is None:
            self._whole = load_checkpoint(self.checkpoint.path)
            if self._whole.sha256 != self.checkpoint.sha256:
                raise CheckpointError(
                    f"{self.checkpoint.path} was exchanged while it was in use. Run again."
                )
        return self._whole

    def is_for(self, detector: str, path: Path, sha256: str, device: str) -> bool:
        """Whether these are the networks of a file with this content, on this device."""
        known = self.checkpoint
        return (known.card.detector, known.path, known.sha256, self.device) == (
            detector,
            path,
            sha256,
            device,
        )

    def drop_tensors(self) -> None:
        """Keep the networks alone; the file is read again where another part is asked for."""
        self._whole = None


_kept: list[LoadedWeights] = []
"""What no detection uses at the moment, the last used last."""

_lock = threading.Lock()


@contextmanager
def acquire_weights(ref: str | Path, *, detector: str, device: Device) -> Iterator[LoadedWeights]:
    """Yield weights for a detection, with the networks that an earlier one made of the same file.

    A file is the same if its content is, so that one that was changed is read anew. Two detections
    at once never share a network, since each sets thresholds and hooks in its own: the second one
    gets another copy, of which one is kept in the end. Where a detection fails or is cancelled,
    its networks are dropped.

    Parameters
    ----------
    ref
        As of `napari_fundus.checkpoints.load_checkpoint`.
    detector
        Name of the detector.
    device
        Where the networks will be. Their arithmetic is not asked: bfloat16 is autocast's, or a
        copy's.

    Raises
    ------
    CheckpointError
        As `load_checkpoint`.
    """
    found = resolve_checkpoint(ref, detector=detector)
    weights = _pop_idle(detector, found.path, found.sha256, device.name)
    if weights is None:
        weights = LoadedWeights(load_checkpoint(found.path, detector=detector), device.name)
    yield weights
    weights.drop_tensors()
    _release(weights)


def _pop_idle(*wanted: str | Path) -> LoadedWeights | None:
    """Take what is kept of a file and device out of what is free."""
    with _lock:
        for weights in _kept:
            if weights.is_for(*cast("tuple[str, Path, str, str]", wanted)):
                _kept.remove(weights)
                return weights
    return None


def _release(weights: LoadedWeights) -> None:
    """Put weights back as the last used; others of their file, and the least used, are dropped."""
    with _lock:
        path, device = weights.checkpoint.path, weights.device
        _kept[:] = [w for w in _kept if (w.checkpoint.path, w.device) != (path, device)]
        _kept.append(weights)
        del _kept[:-_MAX_CACHED]


def clear_network_cache() -> None:
    """Give up all networks that no detection uses at the moment, and their memory.

    `napari_fundus.runtime.devices.release_memory` does this for a GPU.
    """
    with _lock:
        _kept.clear()


on_memory_release(clear_network_cache)
