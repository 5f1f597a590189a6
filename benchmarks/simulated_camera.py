"""Photographs made to look as if another camera had taken them, written as a data set."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_fundus.datasets import Dataset, Sample
from napari_fundus.datasets.folder import FolderDataset
from napari_fundus.preprocessing.field_of_view import find_field_of_view
from napari_fundus.preprocessing.fov_circle import FovCircle, fit_fov_circle
from napari_fundus.runtime.files import atomic_write

__all__ = ["OTHER", "SAME", "SimulatedCamera", "simulate_dataset"]


@dataclass(frozen=True)
class SimulatedCamera:
    """What a camera does to the picture of a retina; each number is a default of the benchmark.

    Attributes
    ----------
    name
        Of the folder.
    diameter
        Of the disc in the new pictures, px.
    field
        Part of the disc's radius that is seen: below 1 the lesions are larger in relation to the
        disc, which a resizing to a working scale does not undo.
    gains
        Factors of red, green and blue.
    haze
        Grey levels added inside the disc.
    gamma
        Grey level v becomes 255 (v / 255) ** gamma, before the gains.
    blur
        Standard deviation of a Gaussian, px of the new pictures.
    noise
        Standard deviation of Gaussian noise, grey levels; drawn from a seed that the image's name
        gives.
    quality
        Of the JPEG; 0 writes PNG.
    """

    name: str
    diameter: float = 900.0
    field: float = 1.0
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    haze: float = 0.0
    gamma: float = 1.0
    blur: float = 0.0
    noise: float = 0.0
    quality: int = 0

    def __str__(self) -> str:
        """Return the numbers, for a report."""
        return (
            f"disc {self.diameter:g} px; the inner {self.field:.0%} of its radius; gamma "
            f"{self.gamma:g}; red, green, blue × {', '.join(f'{g:g}' for g in self.gains)}; + "
            f"{self.haze:g} grey levels; blur σ {self.blur:g} px; noise σ {self.noise:g}; "
            f"{f'JPEG quality {self.quality}' if self.quality else 'PNG'}"
        )

    def take(
        self,
        pixels: npt.NDArray[np.uint8],
        mask: npt.NDArray[np.bool_],
        disc: FovCircle,
        *,
        seed: int,
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Return the picture and the lesions as this camera shows them.

        Parameters
        ----------
        pixels
            uint8, shape (H, W, 3).
        mask
            bool, shape (H, W).
        disc
            The field of view in `pixels`.
        seed
            Of the noise.
        """
        radius = self.field * disc.radius
        scale = self.diameter / 2 / radius
        top, left = (max(int(c - radius), 0) for c in (disc.centre_row, disc.centre_col))
        window = np.s_[
            top : int(disc.centre_row + radius) + 1, left : int(disc.centre_col + radius) + 1
        ]
        seen = FovCircle(disc.centre_row - top, disc.centre_col - left, radius)
        picture, drawn = pixels[window], mask[window]
        inside = seen.mask(drawn.shape) & (picture.max(axis=2) > 0)
        height, width = (round(side * scale) for side in drawn.shape)

        def reduced(values: Any) -> npt.NDArray[np.float32]:
            values = values.astype(np.float32)
            found = cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA)
            return np.asarray(found, np.float32)

        inside = reduced(inside) > 0.5
        values = 255 * (reduced(picture) / 255) ** self.gamma
        values = values * np.array(self.gains, np.float32) + self.haze
        if self.blur:
            values = np.asarray(cv2.GaussianBlur(values, (0, 0), self.blur), np.float32)
        if self.noise:
            values += np.random.default_rng(seed).normal(0, self.noise, values.shape)
        values[~inside] = 0
        taken = np.clip(np.rint(values), 0, 255).astype(np.uint8)
        return taken, (reduced(drawn) > 0.5) & inside


OTHER = SimulatedCamera(
    "other",
    field=0.82,
    gains=(1.0, 0.72, 0.55),
    haze=14.0,
    gamma=1.15,
    blur=1.1,
    noise=2.5,
    quality=80,
)
"""A narrower field, a red cast with less contrast in green, softer, noisier, compressed."""

SAME = SimulatedCamera("same")
"""The photographs as they are, in the size of the others."""


def simulate_dataset(samples: Sequence[Sample], camera: SimulatedCamera, folder: Path) -> Dataset:
    """Write what `camera` makes of the samples, unless it is there; return it as a data set.

    Ids and groups stay those of the samples, so that no split parts an eye and weights that have
    seen one of them are found out.
    """
    home = folder / camera.name
    for sample in samples:
        stem = sample.image_path.stem
        path = home / f"{stem}{'.jpg' if camera.quality else '.png'}"
        mask_path = home / f"{stem}_MA.png"
        if path.exists() and mask_path.exists():
            continue
        image = sample.image()
        disc = fit_fov_circle(find_field_of_view(image))
        pixels, mask = camera.take(
            image.rgb8, sample.mask("MA", image.shape), disc, seed=zlib.crc32(stem.encode())
        )
        with atomic_write(path, overwrite=True) as temporary:
            Image.fromarray(pixels).save(temporary, quality=camera.quality, subsampling=0)
        with atomic_write(mask_path, overwrite=True) as temporary:
            Image.fromarray(mask).save(temporary)
    by_stem = {sample.image_path.stem: sample for sample in samples}
    data = FolderDataset.open(home)
    known = [
        replace(written, id=by_stem[written.id].id, group=by_stem[written.id].group)
        for written in data
        if written.id in by_stem
    ]
    return FolderDataset(home, known)
