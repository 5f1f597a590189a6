"""A FROC curve, and what is read off it: sensitivities at given false positives an image, CPM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

CPM_POINTS: tuple[float, ...] = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)
"""False positives an image at which the competition performance metric takes sensitivity."""

ROC_POINTS: tuple[float, ...] = (1, 2, 4, 8, 12, 16, 20)
"""The points of the table of the Retinopathy Online Challenge in the voting paper."""


def point_name(fpi: float) -> str:
    """Return a number of false positives an image as text, e.g. ``1/8``."""
    return f"{fpi:g}" if fpi >= 1 else f"1/{1 / fpi:g}"


PointStatus = Literal["reached", "never so low", "never so high"]


@dataclass(frozen=True)
class OperatingPoint:
    """Sensitivity at a given number of false positives an image.

    Attributes
    ----------
    fpi
        The false positives an image that were asked for.
    sensitivity
        The largest sensitivity of any threshold with at most `fpi` false positives an image.
    threshold
        That threshold: detections lie above it. Infinite where nothing may be detected.
    actual_fpi
        False positives an image at that threshold.
    reach
        ``"never so low"``: every threshold that finds anything has more false positives than
        `fpi`, so the sensitivity is 0, that of finding nothing. ``"never so high"``: the whole
        curve has fewer; the sensitivity is that of its end. Neither is extrapolated.
    """

    fpi: float
    sensitivity: float
    threshold: float
    actual_fpi: float
    reach: PointStatus


@dataclass(frozen=True)
class FrocSummary:
    """Sensitivities at several points and their mean.

    Attributes
    ----------
    points
        One a number of false positives an image.
    images, lesions
        What was counted over; healthy images included.
    ended
        As of the curve.
    """

    points: tuple[OperatingPoint, ...]
    images: int
    lesions: int
    ended: float | None = None

    @property
    def mean_sensitivity(self) -> float:
        """Mean over the points; the CPM where these are `CPM_POINTS`. NaN without lesions."""
        return float(np.mean([point.sensitivity for point in self.points]))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What to print beside the figures: the points that the curve does not reach."""
        return tuple(
            f"{point.fpi:g} FPI: the curve gets {point.reach}"
            for point in self.points
            if point.reach != "reached"
        )


@dataclass(frozen=True, eq=False)
class FrocCurve:
    """The curve at every threshold that makes a difference, the highest first.

    Attributes
    ----------
    thresholds
        float64, shape (T,), descending; detections lie strictly above. The first is infinite.
    sensitivity
        float64, shape (T,); NaN where no image has a lesion.
    fpi
        float64, shape (T,): false positives an image. It may fall again as components merge.
    images, lesions
        What was counted over.
    ended
        The threshold at which the curve was ended, since below it false positives become fewer as
        components merge; None where it goes down to the lowest threshold.
    """

    thresholds: npt.NDArray[np.float64]
    sensitivity: npt.NDArray[np.float64]
    fpi: npt.NDArray[np.float64]
    images: int
    lesions: int
    ended: float | None = None

    def at(self, fpi: float) -> OperatingPoint:
        """Return the best sensitivity at no more than `fpi` false positives an image."""
        if self.lesions == 0:
            return OperatingPoint(fpi, float("nan"), float("inf"), 0.0, "reached")
        allowed = np.flatnonzero(self.fpi <= fpi)
        best = int(allowed[np.argmax(self.sensitivity[allowed])])
        reach: PointStatus = "reached"
        if len(self.thresholds) > 1 and len(allowed) == 1:
            reach = "never so low"
        elif self.fpi.max() < fpi:
            reach = "never so high"
        return OperatingPoint(
            fpi,
            float(self.sensitivity[best]),
            float(self.thresholds[best]),
            float(self.fpi[best]),
            reach,
        )

    def summary(self, points: Sequence[float] = CPM_POINTS) -> FrocSummary:
        """Return the sensitivities at `points` (false positives an image) and their mean."""
        read = tuple(self.at(point) for point in points)
        return FrocSummary(read, self.images, self.lesions, self.ended)

    @property
    def cpm(self) -> float:
        """Competition performance metric: mean sensitivity at the seven `CPM_POINTS`."""
        return self.summary().mean_sensitivity
