"""From contrast to score: the rank among the pixels of reference images, on a logarithmic scale."""

from __future__ import annotations

import numpy as np

from napari_fundus.backends.tophat.filters import Plane

__all__ = ["HEALTHY_DETECTIONS", "LARGEST_SHARE", "LEAST_SHARE", "score"]

HEALTHY_DETECTIONS = 8
"""Median number of detections of each class in a healthy image at a score of 0.5."""

LARGEST_SHARE: dict[str, float] = {"MA": 0.02, "HE": 0.1, "EX": 0.1}
"""Share of the reference pixels that have a score above 0; all that stand out less have 0."""

LEAST_SHARE = 1e-5
"""Share of the reference pixels that have a score of 1."""

# Contrasts at scores 0, 1/16, …, 1; printed by benchmarks/tophat_calibration.py.
_CONTRASTS: dict[str, tuple[float, ...]] = {
    "MA": (
        0.073, 0.101, 0.133, 0.171, 0.217, 0.272, 0.342, 0.432, 0.545,
        0.681, 0.836, 0.995, 1.154, 1.315, 1.472, 1.624, 1.815,
    ),
    "HE": (
        0.154, 0.210, 0.272, 0.340, 0.417, 0.500, 0.591, 0.693, 0.803,
        1.131, 1.513, 1.942, 2.375, 2.789, 3.105, 3.321, 3.501,
    ),
    "EX": (
        0.702, 0.832, 0.971, 1.124, 1.300, 1.520, 1.809, 2.214, 2.782,
        4.365, 6.351, 8.412, 10.484, 13.205, 16.671, 18.998, 21.232,
    ),
}  # fmt: skip


def score(contrast: Plane, lesion: str) -> Plane:
    """Return the scores of a class's contrasts, comparable over images.

    The rank of a contrast is the share of pixels, within the field of view of the 54 training
    images of IDRiD's part A, that have at least that contrast. The score is piecewise linear in the
    logarithm of this share: 0 at `LARGEST_SHARE` (what stands out less is left out), 1 at
    `LEAST_SHARE`, and 0.5 where half of 80 healthy images (IDRiD's part B, grade 0) have no more
    than `HEALTHY_DETECTIONS` detections of the class. So one threshold, 0.5, suits all classes; a
    score is a rank and no probability.

    Parameters
    ----------
    contrast
        float32, any shape, at least 0.
    lesion
        ``"MA"``, ``"HE"`` or ``"EX"``.

    Returns
    -------
    numpy.ndarray
        float32 in [0, 1], shape of `contrast`.

    Examples
    --------
    >>> score(np.array([0.0, 0.545, 9.0], np.float32), "MA").tolist()
    [0.0, 0.5, 1.0]
    """
    knots = _CONTRASTS[lesion]
    return np.interp(contrast, knots, np.linspace(0, 1, len(knots))).astype(np.float32)
