"""The stages of a picture: reading, field of view, enhancement."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.enhancement import with_opencv, with_skimage
from benchmarks.performance.baselines import read_with_copy
from benchmarks.performance.machine_limits import LeastWork
from benchmarks.performance.sample_image import BenchmarkImage
from benchmarks.performance.stage import (
    BenchmarkStage,
    Peer,
    count_different_pixels,
    largest_difference,
)
from napari_fundus.image import read_image
from napari_fundus.preprocessing import enhance, find_field_of_view

__all__ = ["picture_stages"]

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_WEIGHTS = {"alpha": 4.0, "beta": -4.0, "gamma": 128.0}
_SIGMA_PER_WIDTH = 32 / 4288


def picture_stages(subject: BenchmarkImage) -> Iterator[BenchmarkStage]:
    """Yield the stages, to be run on the photograph of `subject`."""
    yield _reading(subject)
    yield _field_of_view(subject)
    yield _enhancement(subject)


def _reading(subject: BenchmarkImage) -> BenchmarkStage:
    def opencv() -> Pixels:
        pixels = cv2.cvtColor(np.asarray(cv2.imread(str(subject.path))), cv2.COLOR_BGR2RGB)
        return np.asarray(pixels, np.uint8)

    def skimage() -> Pixels:
        from skimage.io import imread

        return np.asarray(imread(subject.path))

    return BenchmarkStage(
        "Reading",
        f"JPEG, {subject.size}",
        lambda: read_image(subject.path).pixels,
        (Peer("OpenCV `imread`, to RGB", opencv), Peer("scikit-image `imread`", skimage)),
        largest_difference,
        LeastWork(moved=subject.image.pixels.nbytes, stored=subject.path.stat().st_size),
        before=lambda: read_with_copy(subject.path),
    )


def _field_of_view(subject: BenchmarkImage) -> BenchmarkStage:
    """Return the stage; the peers' is the plain recipe that ours begins with."""
    image = subject.image

    def opencv() -> Mask:
        green = np.ascontiguousarray(image.rgb8[..., 1])
        _, lit = cv2.threshold(green, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        contours, _ = cv2.findContours(lit, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        mask = np.zeros(image.shape, np.uint8)
        cv2.drawContours(mask, [max(contours, key=cv2.contourArea)], -1, 1, cv2.FILLED)
        return mask.view(np.bool_)

    def skimage() -> Mask:
        from scipy.ndimage import binary_fill_holes
        from skimage.filters import threshold_otsu
        from skimage.measure import label

        green = image.rgb8[..., 1]
        lit = green > threshold_otsu(green)
        parts = label(lit, connectivity=2)
        largest = int(np.bincount(parts.ravel())[1:].argmax()) + 1
        return np.asarray(binary_fill_holes(parts == largest), np.bool_)

    return BenchmarkStage(
        "Field of view",
        f"RGB, {subject.size}",
        lambda: find_field_of_view(image),
        (
            Peer("OpenCV: Otsu, largest, filled", opencv),
            Peer("scikit-image: the same", skimage),
        ),
        count_different_pixels,
        LeastWork(moved=image.rgb8.nbytes + image.rgb8.nbytes // 3),
    )


def _enhancement(subject: BenchmarkImage) -> BenchmarkStage:
    pixels, inside = subject.image.rgb8, subject.inside
    sigma = _SIGMA_PER_WIDTH * pixels.shape[1]

    def run(way: object) -> Pixels:
        assert callable(way)  # noqa: S101  # for the type checker
        return np.asarray(way(pixels, field_of_view=inside, sigma=sigma, **_WEIGHTS))

    return BenchmarkStage(
        "Enhancement",
        f"RGB, {subject.size}, σ {sigma:.0f} px",
        lambda: run(enhance),
        (
            Peer("OpenCV `GaussianBlur`", lambda: run(with_opencv)),
            Peer("scikit-image `gaussian`", lambda: run(with_skimage)),
        ),
        largest_difference,
        LeastWork(moved=2 * pixels.nbytes + inside.nbytes),
    )
