"""Boxes of lesions that a person deleted, moved or drew, as labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fundus.errors import FundusError

DISPLAYED_BOXES = "boxes"
"""Entry of a layer's `LayerMetadata.extra`: its boxes as the result itself has them, int64 of shape
(N, 5): id, first row and column, and those after the last."""

_AREAS = ("rectangle", "ellipse", "polygon")

Box = tuple[int, int, int, int]
"""First row and column, and those after the last."""


@dataclass(frozen=True, eq=False)
class BoxShapes:
    """What a layer of boxes shows.

    Attributes
    ----------
    displayed
        As of `DISPLAYED_BOXES`: what the result put there.
    vertices
        Of each shape that is there now: float64, shape (N, 2), row and column; pixel centres are
        whole numbers.
    kinds
        ``"rectangle"`` and so on, as napari names them.
    ids
        Of the lesion that each is the box of; shapes that were added may have that of another.
    """

    displayed: npt.NDArray[np.int64]
    vertices: tuple[npt.NDArray[np.float64], ...]
    kinds: tuple[str, ...]
    ids: tuple[int, ...]

    @classmethod
    def of_layer(cls, data: Any, attributes: Mapping[str, Any], displayed: Any) -> BoxShapes:
        """Take what a shapes layer shows, from its data and its attributes by name.

        `displayed` is the entry `DISPLAYED_BOXES` of its metadata, None where there is none.
        """
        found = np.zeros((0, 5)) if displayed is None else displayed
        vertices = tuple(np.array(one, np.float64)[:, -2:] for one in data)
        kinds = attributes.get("shape_type", "rectangle")
        kinds = [kinds] * len(vertices) if isinstance(kinds, str) else kinds
        features = attributes.get("features")
        known = features["index"] if features is not None and "index" in features else ()
        ids = [int(value) if np.isfinite(value) else 0 for value in known]
        ids = (ids + [0] * len(vertices))[: len(vertices)]
        return cls(
            np.asarray(found, np.int64), vertices, tuple(str(kind) for kind in kinds), tuple(ids)
        )

    @property
    def changed(self) -> bool:
        """Whether any box was deleted, moved or added."""
        return any(self._compare())

    def _compare(self) -> tuple[list[int], dict[int, int], list[int]]:
        """Return ids deleted, numbers of shapes moved with the ids that they had, and added."""
        left: dict[Box, list[int]] = {}
        for identity, *box in self.displayed.tolist():
            left.setdefault((box[0], box[1], box[2], box[3]), []).append(identity)
        others = []
        for number, (corners, kind) in enumerate(zip(self.vertices, self.kinds, strict=True)):
            box = _pixel_box(corners)
            if kind == "rectangle" and _is_upright(corners, box) and left.get(box):
                left[box].pop(0)
            else:
                others.append(number)
        free = {identity for ids in left.values() for identity in ids}
        moved: dict[int, int] = {}
        for number in others:
            if self.ids[number] in free:
                moved[number] = self.ids[number]
                free.discard(self.ids[number])
        return sorted(free), moved, [number for number in others if number not in moved]


def labels_with_boxes(
    labels: npt.NDArray[Any], boxes: BoxShapes, *, name: str = "the layer"
) -> npt.NDArray[Any]:
    """Return labels in which a person's changes of the boxes are carried out.

    A lesion whose box was deleted is gone; one whose box was moved moves with it, to whole pixels;
    a box that was drawn or resized is filled, and lies above what it covers.

    Parameters
    ----------
    labels
        Integer, shape (H, W), with the ids of the boxes; returned itself if nothing was changed.
    boxes
        What the layer shows.
    name
        Of the layer, for messages.

    Raises
    ------
    FundusError
        A shape encloses no pixel of the image, or another covers it; or the result has changed
        since the boxes were shown.
    """
    deleted, moved, added = boxes._compare()
    if not (deleted or moved or added):
        return labels
    known = {row[0]: (row[1], row[2], row[3], row[4]) for row in boxes.displayed.tolist()}
    result = labels.astype(np.int32)
    lesions: dict[int, tuple[npt.NDArray[np.int64], Box]] = {}
    for identity in (*deleted, *moved.values()):
        top, left, bottom, right = box = known[identity]
        rows, cols = np.nonzero(labels[top:bottom, left:right] == identity)
        if not len(rows):
            raise FundusError(
                f"The boxes of {name!r} were changed while the result changed as well: let it show "
                "its present boxes, and change them again."
            )
        lesions[identity] = np.stack([rows + top, cols + left]), box
    for (rows, cols), _ in lesions.values():
        result[rows, cols] = 0
    fresh = max(int(labels.max(initial=0)), *known, 0) + 1
    drawn = []
    for number in (*moved, *added):
        identity = moved.get(number, 0) or fresh
        fresh += number not in moved
        pixels = _shape_pixels(boxes, number, lesions.get(moved.get(number, 0)), labels.shape)
        result[pixels] = identity
        drawn.append((number, identity))
    left_over = set(np.unique(result).tolist())
    for number, identity in drawn:
        if identity not in left_over:
            raise FundusError(
                f"Shape {number + 1} of {name!r} encloses no pixel of the image, or others cover "
                "it: move or delete it."
            )
    gone = set(known) - set(deleted) - left_over
    if gone & set(np.unique(labels).tolist()):
        raise FundusError(
            f"Shapes of {name!r} cover {len(gone)} other(s) wholly: delete those or move them."
        )
    return result


def _shape_pixels(
    boxes: BoxShapes,
    number: int,
    before: tuple[npt.NDArray[np.int64], Box] | None,
    shape: Sequence[int],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return rows and columns of a shape's lesion: the one before, moved, or all of the shape."""
    from skimage.draw import polygon

    corners, kind = boxes.vertices[number], boxes.kinds[number]
    box = _pixel_box(corners)
    upright = kind == "rectangle" and _is_upright(corners, box, tolerance=1)
    if before is not None and upright and _size(box) == _size(before[1]):
        rows, cols = before[0] + np.array([[box[0] - before[1][0]], [box[1] - before[1][1]]])
    elif upright:
        rows, cols = (axis.ravel() for axis in np.mgrid[box[0] : box[2], box[1] : box[3]])
    elif kind in _AREAS:
        outline = _ellipse(corners) if kind == "ellipse" else corners
        rows, cols = polygon(*outline.T)
    else:
        raise FundusError(f"A {kind} encloses nothing: a lesion is drawn as a box or a polygon.")
    inside = (rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1])
    return rows[inside], cols[inside]


def _pixel_box(corners: npt.NDArray[np.float64]) -> Box:
    """Return the whole pixels nearest to a shape's extent."""
    top, left = np.rint(corners.min(axis=0) + 0.5).astype(int).tolist()
    bottom, right = np.rint(corners.max(axis=0) + 0.5).astype(int).tolist()
    return top, left, bottom, right


def _is_upright(corners: npt.NDArray[np.float64], box: Box, tolerance: float = 1e-3) -> bool:
    """Return whether all corners lie on those of a box."""
    sides = np.array(box, np.float64).reshape(2, 2) - 0.5
    far = np.abs(corners[np.newaxis] - sides[:, np.newaxis]).min(axis=0)
    return len(corners) == 4 and bool((far <= tolerance).all())


def _size(box: Box) -> tuple[int, int]:
    return box[2] - box[0], box[3] - box[1]


def _ellipse(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return an ellipse as 72 points, from the corners of the rectangle around it."""
    middle = corners.mean(axis=0)
    along, across = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)[:, np.newaxis]
    return np.asarray(middle + np.cos(angle) * along + np.sin(angle) * across)
