"""Where the refiner's patches are centred: on lesions, and on what could be taken for one."""

from __future__ import annotations

from collections.abc import Collection

import cv2
import numpy as np
import numpy.typing as npt

from napari_fundus.errors import TrainingError
from napari_fundus.training.patches.hard_negatives import HardNegativePool
from napari_fundus.training.patches.samplers import PackedPositions, PatchSampler
from napari_fundus.training.patches.store import PatchStore

Ints = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_GRID = 2
"""Pixels between neighbouring places without a lesion."""


class TripletSampler(PatchSampler):
    """Draws two lesion patches and one without, many times over.

    Parameters
    ----------
    store
        The images at the fine scale.
    size
        Side of the patches, odd: they are known by their centres.
    negative_image_indices
        Indices of the images that patches without a lesion may come from; None for all.
    suspects
        For each image the pixels, bool (H, W), where a hypothesis found something; None without.
    apart
        Centres of patches without a lesion keep so many pixels from any lesion.

    Raises
    ------
    TrainingError
        There is no lesion, or nothing else.
    """

    def __init__(
        self,
        store: PatchStore,
        size: int,
        *,
        negative_image_indices: Collection[int] | None = None,
        suspects: dict[int, Bool] | None = None,
        apart: int = 8,
    ) -> None:
        super().__init__(store, size)
        lesions, others, mined = [], [], []
        for index, image in enumerate(store):
            fits = self._fits(image.bits.shape[0], image.bits.shape[1])
            allowed = image.annotated.all() and (
                negative_image_indices is None or index in negative_image_indices
            )
            lesion = image.bits != 0
            lesions.append(lesion & fits)
            clear = image.valid_mask & fits & ~_dilate(lesion, apart) & allowed
            others.append(clear[::_GRID, ::_GRID])
            suspect = (suspects or {}).get(index)
            nothing = np.zeros_like(clear)
            mined.append((nothing if suspect is None else clear & suspect)[::_GRID, ::_GRID])
        self.lesions = PackedPositions(lesions)
        self.others = PackedPositions(others, stride=_GRID)
        self.mined = PackedPositions(mined, stride=_GRID)
        if not len(self.lesions) or not len(self.others):
            raise TrainingError(
                "The refiner needs patches with and without a lesion: choose images that have "
                "both, or let those without come from all images (--set negatives=all)."
            )

    def _fits(self, height: int, width: int) -> Bool:
        half = self.size // 2
        fits = np.zeros((height, width), np.bool_)
        fits[half : height - half, half : width - half] = True
        return fits

    @property
    def counts(self) -> dict[str, int]:
        """Number of centres, by kind."""
        return {
            "on a lesion": len(self.lesions),
            "without lesion": len(self.others),
            "suspect without lesion": len(self.mined),
        }

    def draw_pool(self, rng: np.random.Generator, count: int, *, mined: float) -> HardNegativePool:
        """Return a pool of centres without a lesion, a share of them suspect where any are."""
        wanted = round(mined * count) if len(self.mined) else 0
        parts = [self.others.draw(rng, count - wanted)]
        if wanted:
            parts.append(self.mined.draw(rng, wanted))
        return HardNegativePool(np.concatenate([np.stack(part, axis=1) for part in parts]))

    def draw_lesions(self, rng: np.random.Generator, count: int) -> Ints:
        """Return centres on lesions: int64, shape (count, 3), image, row and column."""
        return np.stack(self.lesions.draw(rng, count), axis=1)

    def positions(self, rng: np.random.Generator, count: int) -> tuple[Ints, Ints, Ints]:
        """Draw patches on lesions: image, first row and first column."""
        return self.corners(self.draw_lesions(rng, count))

    def corners(self, centres: Ints) -> tuple[Ints, Ints, Ints]:
        """Return image, first row and first column of patches by their centres."""
        half = self.size // 2
        return centres[:, 0], centres[:, 1] - half, centres[:, 2] - half


def _dilate(mask: Bool, radius: int) -> Bool:
    if not mask.any():
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    grown: Bool = cv2.dilate(mask.astype(np.uint8), kernel) > 0
    return grown
