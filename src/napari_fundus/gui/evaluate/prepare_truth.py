"""What an evaluation of one image computes from a result and a truth; threads call it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from napari_fundus.metrics.curves import Curve, CurveKind
from napari_fundus.metrics.froc import Froc
from napari_fundus.metrics.lesion_matching import ClassMatch, TrueLesions, match_with_truth
from napari_fundus.results.detections import Detections
from napari_fundus.results.layer_metadata import as_array
from napari_fundus.results.shown_lesions import ShownLesions
from napari_fundus.runtime.progress import Monitor

_FROC_MIN_THRESHOLD = 0.02
"""Where an image's FROC curve ends: a network's map is nowhere 0, and below there is only haze."""


@dataclass(frozen=True, eq=False)
class PreparedTruth:
    """The truth of all classes, and what does not depend on a threshold.

    Attributes
    ----------
    truths
        Class code to its true lesions.
    aupr
        Class code to the area below the precision-recall curve; classes without a map are missing.
    curves
        Precision-recall curve of each class.
    """

    truths: Mapping[str, TrueLesions]
    aupr: Mapping[str, float]
    curves: Mapping[str, Curve]


def prepare_truth(
    masks: Mapping[str, Any], run: Detections | None, monitor: Monitor
) -> PreparedTruth:
    """Find the true lesions of all classes.

    Parameters
    ----------
    masks
        Class code to labels, shape (H, W), not yet read where they are lazy.
    run
        The result, where its maps are kept.
    monitor
        Takes progress; may cancel.
    """
    from napari_fundus.metrics.precision_recall import PixelHistogram

    truths, areas, curves = {}, {}, {}
    for code in monitor.track(list(masks), message="reading the truth"):
        probability = None if run is None else run.probability.get(code)
        truths[code] = TrueLesions.of(code, as_array(masks[code]), probability=probability)
        if probability is not None:
            pixels = PixelHistogram((33,))
            areas[code] = pixels.add(probability, truths[code].labels > 0)
            # Drawn at all thresholds, but told by the same area as in the table of figures.
            curve = Curve.from_precision_recall(code, pixels.curve(0), 1)
            curves[code] = replace(curve, summary=areas[code])
    if run is not None:
        monitor.check()
    return PreparedTruth(truths, areas, curves)


def image_curves(
    prepared: PreparedTruth, run: Detections, monitor: Monitor
) -> dict[tuple[CurveKind, str], Curve]:
    """Return both curves of each class, of one image; the FROC curve takes a second or so."""
    curves: dict[tuple[CurveKind, str], Curve] = {}
    for code in monitor.track(list(prepared.truths), message="curves"):
        probability = run.probability.get(code)
        if probability is None:
            continue
        froc = Froc(lowest=_FROC_MIN_THRESHOLD)
        froc.add(probability, prepared.truths[code].labels > 0)
        # The mean of sensitivities at so many false positives an image tells nothing of one image.
        curves["froc", code] = replace(Curve.from_froc(code, froc.curve()), summary=math.nan)
        curves["pr", code] = prepared.curves[code]
    return curves


def match_classes(
    snapshots: Mapping[str, Callable[[], ShownLesions]], truths: Mapping[str, TrueLesions]
) -> dict[str, ClassMatch]:
    """Compare all classes with the truth; `snapshots` are those of `layer_snapshot`."""
    shown = {code: snapshot() for code, snapshot in snapshots.items()}
    return {
        code: match_with_truth(truths[code], one.components.pixels, one.ids, one.table)
        for code, one in shown.items()
    }


def operating_points(row: Mapping[str, Any]) -> dict[CurveKind, tuple[float, float]]:
    """Return where the curves of :func:`image_curves` are by a class's metrics of the image."""
    # Where nothing is found, precision is drawn as 1, as the curve has it.
    precision = row["pixel_precision"] if row["detections"] else 1.0
    return {
        "froc": (row["false_positives"], row["sensitivity"]),
        "pr": (row["pixel_sensitivity"], precision),
    }
