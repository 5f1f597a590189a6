"""The forms in which data sets hold their truth: masks, points with radii, shapes, agreements."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from napari_fundus.datasets.base import Truth
from napari_fundus.datasets.masks import read_grey, read_levels, read_mask, read_region
from napari_fundus.datasets.shapes import Circle, Shape, objects_of_shapes, rasterize
from napari_fundus.errors import DatasetError
from napari_fundus.results.components import find_components
from napari_fundus.results.objects import LesionObject

Confidence = Literal["High", "Medium", "Low"]

CONFIDENCE_WEIGHTS: Mapping[str, float] = {"High": 1.0, "Medium": 0.75, "Low": 0.25}
"""What an expert's confidence counts for in the fusion of DIARETDB1 (Kauppi et al. 2007)."""


@dataclass(frozen=True)
class MaskTruth(Truth):
    """A mask file; see :func:`~napari_fundus.datasets.masks.read_mask` for what counts as drawn."""

    path: Path

    def mask(self, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Rasterize: bool array of the image's `shape` (height, width)."""
        return read_mask(self.path, shape)

    def count(self, shape: tuple[int, int]) -> int:
        """Return the number of lesions within the image."""
        return len(find_components(self.mask(shape)).area)


@dataclass(frozen=True)
class OwnMaskTruth(MaskTruth):
    """A mask file that this package wrote: whatever is not black counts, be it all of the image."""

    def mask(self, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Rasterize: bool array of the image's `shape` (height, width)."""
        return read_region(self.path, shape)


@dataclass(frozen=True)
class SmoothMaskTruth(MaskTruth):
    """A mask file whose edges are smoothed: from halfway to the mark on, a pixel counts."""

    def mask(self, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Rasterize: bool array of the image's `shape` (height, width)."""
        return read_mask(self.path, shape, smooth=True)


@dataclass(frozen=True)
class LevelTruth(MaskTruth):
    """One of several numbers in a mask file, each of which stands for a class.

    Attributes
    ----------
    level
        The number of this class.
    known
        All numbers that the data set uses; a file with others is refused.
    """

    level: int
    known: frozenset[int]

    def mask(self, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Rasterize: bool array of the image's `shape` (height, width)."""
        levels = read_levels(self.path, shape)
        if other := set(np.unique(levels).tolist()) - self.known:
            listed = ", ".join(map(str, sorted(other)[:5]))
            raise DatasetError(
                f"The mask {self.path.name} holds {listed}, where this data set has "
                f"{', '.join(map(str, sorted(self.known)))}: it was converted. Use the original."
            )
        marked: npt.NDArray[np.bool_] = levels == self.level
        return marked


@dataclass(frozen=True)
class ShapesTruth(Truth):
    """Shapes drawn by one annotator; each is a lesion, touching or not."""

    instance_level: ClassVar[bool] = True
    shapes: tuple[Shape, ...]

    def mask(self, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Rasterize: bool array of the image's `shape` (height, width)."""
        return rasterize(self.shapes, shape)

    def count(self, shape: tuple[int, int]) -> int:
        """Return the number of lesions within the image."""
        return len(self.shapes) - self.count_outside(shape)

    def objects(self, lesion: str, shape: tuple[int, int]) -> list[LesionObject]:
        """Return each shape as a lesion, whether it touches others or not."""
        return objects_of_shapes(self.shapes, lesion, shape)

    def count_outside(self, shape: tuple[int, int]) -> int:
        """Return how many lie wholly outside the image; they are left out."""
        return sum(item.stamp(shape) is None for item in self.shapes)


@dataclass(frozen=True)
class Point:
    """A lesion given by its place.

    Attributes
    ----------
    row, col
        Centre in px.
    radius
        In px; 0 where the data set gives none.
    probability
        Share of the experts, 0 to 1, who saw it.
    """

    row: float
    col: float
    radius: float = 0.0
    probability: float = 1.0


@dataclass(frozen=True)
class PointsTruth(Truth):
    """Points with radii: a detection hits one if it lies within the radius of its centre."""

    instance_level: ClassVar[bool] = True
    points: tuple[Point, ...]

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The points as circles."""
        return tuple(Circle(p.col, p.row, p.radius) for p in self.points)

    def mask(self, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Rasterize: bool array of the image's `shape` (height, width)."""
        return rasterize(self.shapes, shape)

    def count(self, shape: tuple[int, int]) -> int:
        """Return the number of lesions within the image."""
        return len(self.points) - self.count_outside(shape)

    def objects(self, lesion: str, shape: tuple[int, int]) -> list[LesionObject]:
        """Return each point as a lesion, the disc around it."""
        return objects_of_shapes(self.shapes, lesion, shape)

    def count_outside(self, shape: tuple[int, int]) -> int:
        """Return how many lie wholly outside the image; they are left out."""
        height, width = shape
        return sum(
            not (-0.5 <= p.row < height - 0.5 and -0.5 <= p.col < width - 0.5) for p in self.points
        )


@dataclass(frozen=True)
class ConsensusTruth(Truth):
    """What several experts agree on: true where their mean confidence reaches `threshold`."""

    @property
    @abstractmethod
    def threshold(self) -> float:
        """Least mean confidence, 0 to 1."""

    @abstractmethod
    def mean_confidence(self, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
        """Return the mean confidence: float32, of the image's `shape`, values in [0, 1]."""

    def mask(self, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Rasterize: bool array of the image's `shape` (height, width)."""
        agreed: npt.NDArray[np.bool_] = self.mean_confidence(shape) >= np.float32(
            self.threshold - 1e-4
        )
        return agreed

    def count(self, shape: tuple[int, int]) -> int:
        """Return the number of lesions within the image."""
        return len(find_components(self.mask(shape)).area)


@dataclass(frozen=True)
class ConsensusMapTruth(ConsensusTruth):
    """A grey image of the mean confidence.

    Attributes
    ----------
    path
        The file.
    full_value
        Grey value of full agreement.
    """

    path: Path
    full_value: float = 252.0
    threshold: float = 0.75

    def mean_confidence(self, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
        """Return the mean confidence: float32, of the image's `shape`, values in [0, 1]."""
        grey = read_grey(self.path, shape).astype(np.float32)
        agreed: npt.NDArray[np.float32] = np.minimum(
            grey / np.float32(self.full_value), np.float32(1)
        )
        return agreed


@dataclass(frozen=True)
class Marking:
    """One shape drawn by one expert.

    Attributes
    ----------
    shape
        What was drawn.
    confidence
        How sure the expert was.
    point
        The representative point (x, y) that the expert set in it, if any.
    """

    shape: Shape
    confidence: Confidence = "High"
    point: tuple[float, float] | None = None

    @property
    def weight(self) -> float:
        """What the confidence counts for, 0 to 1."""
        return CONFIDENCE_WEIGHTS[self.confidence]


@dataclass(frozen=True)
class MultiExpertTruth(ConsensusTruth):
    """The drawings of each expert, fused by their mean confidence.

    Attributes
    ----------
    experts
        Name of the expert to what that expert drew. Those who looked and drew nothing are there
        with nothing, since they count in the mean.
    """

    experts: Mapping[str, tuple[Marking, ...]]
    threshold: float = 0.75

    def mean_confidence(self, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
        """Return the mean confidence: float32, of the image's `shape`, values in [0, 1]."""
        total = np.zeros(shape, np.float32)
        for markings in self.experts.values():
            if not markings:
                continue
            confidence = np.zeros(shape, np.float32)
            for marking in markings:
                stamp = marking.shape.stamp(shape)
                if stamp is not None:
                    part = confidence[stamp.rows, stamp.cols]
                    np.maximum(part, np.float32(marking.weight) * stamp.inside, out=part)
            total += confidence
        return total / np.float32(max(len(self.experts), 1))

    def count_outside(self, shape: tuple[int, int]) -> int:
        """Return how many lie wholly outside the image; they are left out."""
        return sum(
            marking.shape.stamp(shape) is None
            for markings in self.experts.values()
            for marking in markings
        )
