"""From contrast to score: the rank among the pixels of reference images, on a logarithmic scale."""

from __future__ import annotations

import numpy as np

from napari_fundus.backends.tophat.filters import Plane

HEALTHY_DETECTIONS = 8
"""Median number of detections of each class in a healthy image at a score of 0.5."""

LARGEST_SHARE: dict[str, float] = {"MA": 0.02, "HE": 0.1, "EX": 0.1}
"""Share of the reference pixels that have a score above 0; all that stand out less have 0."""

LEAST_SHARE = 1e-5
"""Share of the reference pixels that have a score of 1."""

# Contrasts at scores 0, 1/16, …, 1; printed by benchmarks/tophat_calibration.py.
_CONTRASTS: dict[str, tuple[float, ...]] = {
    "MA": (
        0.071, 0.099, 0.131, 0.168, 0.213, 0.267, 0.337, 0.426, 0.538,
        0.675, 0.829, 0.989, 1.146, 1.308, 1.462, 1.615, 1.787,
    ),
    "HE": (
        0.112, 0.162, 0.218, 0.278, 0.346, 0.422, 0.506, 0.599, 0.701,
        1.034, 1.421, 1.842, 2.263, 2.729, 3.077, 3.287, 3.459,
    ),
    "EX": (
        0.715, 0.848, 0.990, 1.146, 1.326, 1.549, 1.842, 2.253, 2.826,
        4.428, 6.452, 8.556, 10.676, 13.422, 16.994, 19.376, 21.645,
    ),
}  # fmt: skip


def contrast_score(contrast: Plane, lesion: str) -> Plane:
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
    >>> contrast_score(np.array([0.0, 0.538, 9.0], np.float32), "MA").tolist()
    [0.0, 0.5, 1.0]
    """
    knots = _CONTRASTS[lesion]
    return np.interp(contrast, knots, np.linspace(0, 1, len(knots))).astype(np.float32)
