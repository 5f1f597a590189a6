"""A curve to draw, and the threshold behind each of its points: of one image or of a whole set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fundus.metrics.froc_curve import FrocCurve
from napari_fundus.metrics.precision_recall import PrecisionRecallCurve

CurveKind = str

Values = npt.NDArray[np.float64]

_GRID = 400
"""Points that differ by less than this part of an axis look the same."""

_LEAST_FPI = 1 / 64
"""False positives an image below which the logarithmic axis distinguishes nothing."""

_DIGITS = range(2, 9)


@dataclass(frozen=True, eq=False)
class Curve:
    """Points of a FROC or precision-recall curve, from the highest threshold down.

    Attributes
    ----------
    kind
        ``"froc"``: sensitivity over false positives an image; ``"pr"``: precision over recall;
        any other: the name of the protocol that it belongs to.
    lesion
        Code of the class.
    x, y
        float64, shape (N,).
    thresholds
        float64, shape (N,), descending: pixels at or above are detected. Of the thresholds that
        give the same detections, one with few digits. Infinite: nothing is detected. NaN: unknown.
    images, positives
        What was counted over; positives are lesions for FROC, pixels for precision-recall.
    summary
        CPM for FROC, the area below the curve for precision-recall.
    """

    kind: CurveKind
    lesion: str
    x: Values
    y: Values
    thresholds: Values
    images: int
    positives: int
    summary: float

    @classmethod
    def from_froc(cls, lesion: str, curve: FrocCurve) -> Curve:
        """Take a FROC curve, whose detections lie strictly above its thresholds."""
        above = curve.thresholds
        thresholds = np.full(len(above), np.inf)
        if len(above) > 1:
            # The highest peak is unknown; what lies just above the second is as good.
            high = np.concatenate([[min(above[1] + 1e-6, 1.0)], above[1:-1]])
            thresholds[1:] = _shortest_decimal(above[1:], high)
        whole = cls(
            "froc",
            str(lesion),
            np.asarray(curve.fpi, np.float64),
            np.asarray(curve.sensitivity, np.float64),
            thresholds,
            curve.images,
            curve.lesions,
            curve.cpm,
        )
        return whole.thinned()

    @classmethod
    def from_precision_recall(cls, lesion: str, curve: PrecisionRecallCurve, images: int) -> Curve:
        """Take a precision-recall curve, whose detections lie at or above its thresholds."""
        ascending = curve.thresholds
        below = np.concatenate([[-1.0], ascending[:-1]])
        finite = np.isfinite(ascending)
        thresholds = np.full(len(ascending), np.inf)
        thresholds[finite] = _shortest_decimal(below[finite], ascending[finite])
        whole = cls(
            "pr",
            str(lesion),
            np.asarray(curve.recall, np.float64)[::-1],
            np.asarray(curve.precision, np.float64)[::-1],
            thresholds[::-1],
            images,
            int(curve.positives),
            curve.aupr,
        )
        return whole.thinned()

    def thinned(self, grid: int = _GRID) -> Curve:
        """Return the curve without the points that could not be distinguished in a drawing."""
        if len(self.x) <= grid:
            return self
        across = self.x
        if self.kind == "froc":
            across = np.log2(np.maximum(self.x, _LEAST_FPI)) / 16
        place = np.rint(np.nan_to_num(np.stack([across, self.y])) * grid)
        new = np.ones(len(self.x), np.bool_)
        new[1:-1] = (place[:, 1:-1] != place[:, :-2]).any(axis=0)
        return Curve(
            self.kind,
            self.lesion,
            self.x[new],
            self.y[new],
            self.thresholds[new],
            self.images,
            self.positives,
            self.summary,
        )

    def at(self, threshold: float) -> tuple[float, float] | None:
        """Return the point at a threshold; None where thresholds are unknown."""
        known = np.flatnonzero(self.thresholds >= threshold)
        if not len(known):
            return None
        return float(self.x[known[-1]]), float(self.y[known[-1]])

    def to_json(self) -> dict[str, Any]:
        """Return the curve as plain values; an infinite or unknown threshold as None."""
        return {
            "x": self.x.tolist(),
            "y": self.y.tolist(),
            "thresholds": [t if np.isfinite(t) else None for t in self.thresholds.tolist()],
            "images": self.images,
            "positives": self.positives,
            "summary": self.summary,
        }

    @classmethod
    def from_json(cls, kind: CurveKind, lesion: str, content: Mapping[str, Any]) -> Curve:
        """Take back what :meth:`to_json` gave; the first threshold, if it is None, is infinite.

        Raises
        ------
        KeyError, TypeError, ValueError
            It did not give that.
        """
        thresholds = np.array(content["thresholds"], np.float64)
        if len(thresholds) and np.isnan(thresholds[0]) and not np.isnan(thresholds).all():
            thresholds[0] = np.inf
        summary = content["summary"]
        x, y = (np.array(content[axis], np.float64) for axis in "xy")
        if not x.shape == y.shape == thresholds.shape == (len(x),):
            raise ValueError("a curve's x, y and thresholds differ in number")
        return cls(
            kind,
            lesion,
            x,
            y,
            thresholds,
            int(content["images"]),
            int(content["positives"]),
            float("nan") if summary is None else float(summary),
        )


def _shortest_decimal(low: Values, high: Values) -> Values:
    """Return numbers above `low` and up to `high`, as float32, with as few digits as will do."""
    low32, high32 = low.astype(np.float32), high.astype(np.float32)
    chosen = high.astype(np.float64)
    waiting = np.ones(len(high), np.bool_)
    for digits in _DIGITS:
        rounded = np.floor(high * 10**digits) / 10**digits
        as_compared = rounded.astype(np.float32)
        fits = waiting & (as_compared > low32) & (as_compared <= high32)
        chosen[fits] = rounded[fits]
        waiting &= ~fits
    return chosen
