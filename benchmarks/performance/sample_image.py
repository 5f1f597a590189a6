"""The photograph that the stages work on, at any size, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from napari_fundus.api import detect
from napari_fundus.datasets import open_dataset
from napari_fundus.image import FundusImage, read_image
from napari_fundus.preprocessing import find_field_of_view
from napari_fundus.results.detections import Detections
from napari_fundus.samples import sample_folder, sample_image_path

__all__ = ["THRESHOLD", "BenchmarkImage", "write_sample_image"]

THRESHOLD = 0.5
"""Score at which the found lesions are cut out."""


@dataclass(frozen=True)
class BenchmarkImage:
    """A photograph in a file, and what the package makes of it.

    Attributes
    ----------
    path
        The file.
    diameter
        At which the top-hat detector works, px.
    """

    path: Path
    diameter: int = 1400

    @cached_property
    def image(self) -> FundusImage:
        """The photograph, read."""
        return read_image(self.path)

    @cached_property
    def inside(self) -> npt.NDArray[np.bool_]:
        """Its field of view."""
        return find_field_of_view(self.image)

    @cached_property
    def found(self) -> Detections:
        """What the top-hat detector finds, its labels and table made."""
        found = self.detect("tophat", threshold=THRESHOLD, working_diameter=self.diameter)
        assert found.instances is not None  # noqa: S101  # made here, and not while the clock runs
        return found

    def detect(self, detector: str, **options: Any) -> Detections:
        """Return what a detector finds on the CPU."""
        return detect(self.image, detector, device="cpu", **options)

    @cached_property
    def truth(self) -> dict[str, npt.NDArray[np.bool_]]:
        """What experts drew, brought to the size of the photograph."""
        (sample,) = open_dataset(sample_folder())
        shape = self.image.shape
        original = read_image(sample_image_path()).shape
        return {
            str(code): np.asarray(
                cv2.resize(
                    sample.mask(code, original).view(np.uint8),
                    shape[::-1],
                    interpolation=cv2.INTER_NEAREST,
                )
                > 0
            )
            for code in ("MA", "HE", "EX")
        }

    @property
    def size(self) -> str:
        """Width and height, for people."""
        height, width = self.image.shape
        return f"{width}×{height} px"


def write_sample_image(folder: Path, megapixels: float) -> Path:
    """Write the sample as JPEG of about so many million pixels into `folder`.

    At its own 12.2 megapixels it is the very file that ships with the package.
    """
    original = sample_image_path()
    pixels = read_image(original).rgb8
    factor = (megapixels * 1e6 / (pixels.shape[0] * pixels.shape[1])) ** 0.5
    if abs(factor - 1) < 0.02:
        return original
    size = (round(pixels.shape[1] * factor), round(pixels.shape[0] * factor))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    picture = cv2.cvtColor(cv2.resize(pixels, size, interpolation=way), cv2.COLOR_RGB2BGR)
    path = folder / f"{megapixels:g}.jpg"
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
    return path
