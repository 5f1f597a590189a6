"""Boxes that a person deletes, moves, resizes or draws are the lesions that are written."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_fundus.errors import FundusError
from napari_fundus.results.boxes import BoxShapes, labels_with_boxes
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.live import LiveResult
from napari_fundus.results.objects import objects_of_labels, score_maps


class Held:
    """Attributes as a layer has them."""

    def __init__(self, **attributes) -> None:
        vars(self).update(attributes)


BOXES = [(1, 2, 3, 5, 8), (2, 10, 3, 13, 8), (3, 2, 20, 6, 24)]
"""Id, first row and column, and those after the last."""


def labels() -> np.ndarray:
    """Return lesions that are not their whole boxes."""
    made = np.zeros((20, 30), np.int32)
    for identity, top, left, bottom, right in BOXES:
        made[top:bottom, left] = identity
        made[bottom - 1, left:right] = identity
    return made


def corners(top: float, left: float, bottom: float, right: float) -> np.ndarray:
    square = [(top, left), (top, right), (bottom, right), (bottom, left)]
    return np.array(square, np.float64) - 0.5


def layer(boxes: list[np.ndarray], ids: list[float], kinds: list[str] | None = None):
    return Held(
        data=boxes,
        shape_type=kinds or ["rectangle"] * len(boxes),
        features=pd.DataFrame({"index": ids}),
    )


def shapes(*arguments) -> BoxShapes:
    shown = layer(*arguments)
    return BoxShapes.of_layer(shown.data, vars(shown), np.array(BOXES))


SHOWN = [corners(*box) for _, *box in BOXES]


def test_what_nobody_changed_is_the_very_labels() -> None:
    before = labels()
    unchanged = shapes(SHOWN, [1, 2, 3])
    assert not unchanged.changed
    assert labels_with_boxes(before, unchanged) is before


def test_a_deleted_box_takes_its_lesion_away() -> None:
    now = labels_with_boxes(labels(), shapes([SHOWN[0], SHOWN[2]], [1, 3]))
    np.testing.assert_array_equal(now, np.where(labels() == 2, 0, labels()))


def test_a_moved_box_takes_its_lesion_along_to_whole_pixels() -> None:
    moved = [SHOWN[0] + (4.2, 0.9), *SHOWN[1:]]
    now = labels_with_boxes(labels(), shapes(moved, [1, 2, 3]))
    rows, cols = np.nonzero(labels() == 1)
    assert (now[rows + 4, cols + 1] == 1).all()
    assert (now == 1).sum() == len(rows)
    np.testing.assert_array_equal(now == 2, labels() == 2)


def test_a_resized_or_drawn_box_is_filled_and_a_polygon_too() -> None:
    drawn = [
        corners(2, 3, 7, 8),  # one row and one column more
        *SHOWN[1:],
        corners(15, 20, 18, 24),
        np.array([(14.0, 2.0), (14.0, 6.0), (18.0, 2.0)]),
    ]
    kinds = ["rectangle"] * 4 + ["polygon"]
    # napari gives a shape that is added the features of another.
    now = labels_with_boxes(labels(), shapes(drawn, [1, 2, 3, 3, 3], kinds))
    assert (now[2:7, 3:8] == 1).all()
    assert (now == 1).sum() == 25
    new = sorted(set(np.unique(now)) - {0, 1, 2, 3})
    assert len(new) == 2
    assert (now[15:18, 20:24] == new[0]).all()
    assert (now == new[1]).sum() == 15
    np.testing.assert_array_equal(now == 3, labels() == 3)


@pytest.mark.parametrize(
    ("more", "kind", "message"),
    [
        (corners(50, 50, 60, 60), "rectangle", "Shape 4 .* encloses no pixel"),
        (np.array([(1.0, 1.0), (5.0, 5.0)]), "line", "A line encloses nothing"),
        (corners(0, 0, 20, 30), "rectangle", "cover 3 other"),
    ],
)
def test_what_cannot_be_a_lesion_is_refused_with_the_reason(more, kind, message) -> None:
    changed = shapes([*SHOWN, more], [1, 2, 3, np.nan], ["rectangle"] * 3 + [kind])
    with pytest.raises(FundusError, match=message):
        labels_with_boxes(labels(), changed)


def test_a_live_result_counts_boxes_as_they_stand_until_they_are_put_back() -> None:
    made = labels()
    objects = objects_of_labels(made, lesion="MA")
    ran = Provenance(
        detector="d", detector_version="1", package_version="0", image_shape=made.shape
    )
    maps = score_maps(objects, ("MA",), made.shape)
    live = LiveResult(Detections(ran, maps, {"MA": 0.5}, objects=tuple(objects)))
    shown, own = layer(SHOWN, [1, 2, 3]), Held(data=made)
    shown.shape_type = "rectangle"
    live.attach("MA", own)
    live.attach_boxes("MA", shown, lambda _: np.array(BOXES))
    heard: list[str] = []
    live.edited_changed.connect(heard.append)
    live.check_boxes("MA")
    assert (live.edited, heard) == (frozenset(), [])
    shown.data, shown.features = SHOWN[1:], pd.DataFrame({"index": [2, 3]})
    live.check_boxes("MA")
    assert (live.edited, heard) == ({"MA"}, ["MA"])
    assert len(live.detections().instances) == 2
    assert len(live.class_snapshot("MA")().table) == 2
    assert len(live.detections(edits=False).instances) == 3
    shown.data, shown.features = SHOWN, pd.DataFrame({"index": [1, 2, 3]})
    live.check_boxes("MA")
    assert (live.edited, heard) == (frozenset(), ["MA", "MA"])
