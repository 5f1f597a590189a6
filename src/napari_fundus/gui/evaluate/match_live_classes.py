"""What an evaluation compares with the truth: the classes of a result as they are now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from napari_fundus.gui.evaluate.layer_groups import LayerGroup
from napari_fundus.metrics.lesion_matching import ClassMatch, TrueLesions, match_with_truth
from napari_fundus.results.layer_metadata import as_array
from napari_fundus.results.shown_lesions import ClassSnapshot


def class_snapshots(result: LayerGroup, codes: Iterable[str]) -> dict[str, ClassSnapshot]:
    """Return what a thread needs of each class; quick, for the main thread.

    Labels count where there is no map: of a result read from a file, or of a class that a reviewer
    added.
    """
    live = result.live
    return {
        code: live.class_snapshot(code)
        if live is not None and code in live.original.lesions
        else ClassSnapshot(np.array(as_array(result.labels[code].data)))
        for code in codes
    }


def match_all(
    snapshots: Mapping[str, ClassSnapshot], truths: Mapping[str, TrueLesions]
) -> dict[str, ClassMatch]:
    """Compare all classes with the truth; may be called in a thread."""
    return {
        code: match_with_truth(truths[code], *snapshot.lesions(code))
        for code, snapshot in snapshots.items()
    }
