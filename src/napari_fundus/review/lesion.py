"""A lesion under review, and how lesions are read off labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.datasets.corrections import Verdict

BoundingBox = tuple[int, int, int, int]
"""First row, first column, one past the last row and column."""

_NAN = float("nan")


@dataclass(frozen=True, eq=False)
class ReviewedLesion:
    """One lesion, and what a person said of it so far.

    Attributes
    ----------
    id
        Its value in the labels, unique over all classes.
    lesion
        Class code, as it now is.
    detected
        Class that the detector gave; None for what was drawn by hand.
    score, threshold
        In [0, 1]; NaN where they are not known.
    area
        In pixels.
    centroid
        Row and column.
    box
        All pixels lie within; where some were erased it may be larger than needed.
    alone
        Whether only one of two detectors found it.
    source
        Name of the other detector, if that one found it.
    verdict
        What was said; None until then.
    pixels
        int64, flat indices of its pixels while these are not in the labels (it was rejected, or is
        a candidate of another detector); None while they are.
    row
        Its row of the table while that is not in the table.
    """

    id: int
    lesion: str
    detected: str | None
    area: int
    centroid: tuple[float, float]
    box: BoundingBox
    score: float = _NAN
    threshold: float = _NAN
    alone: bool = False
    source: str = ""
    verdict: Verdict | None = None
    pixels: npt.NDArray[np.int64] | None = None
    row: pd.DataFrame | None = None

    @property
    def present(self) -> bool:
        """Whether its pixels are in the labels."""
        return self.pixels is None


def measure_pixels(
    pixels: npt.NDArray[np.int64], width: int
) -> tuple[int, tuple[float, float], BoundingBox]:
    """Return area, centroid and box of pixels given by their flat indices, at least one."""
    rows, cols = np.divmod(pixels, width)
    box = (int(rows.min()), int(cols.min()), int(rows.max()) + 1, int(cols.max()) + 1)
    return len(pixels), (float(rows.mean()), float(cols.mean())), box


def pixels_in_box(labels: npt.NDArray[Any], value: int, box: BoundingBox) -> npt.NDArray[np.int64]:
    """Return the flat indices, ascending, of the pixels of `value` within `box`."""
    top, left, bottom, right = box
    rows, cols = np.nonzero(labels[top:bottom, left:right] == value)
    return np.asarray((rows + top) * labels.shape[1] + cols + left, np.int64)


def lesions_from_labels(
    labels: npt.NDArray[Any], table: pd.DataFrame, *, lesion: str, threshold: float = _NAN
) -> list[ReviewedLesion]:
    """Return the lesions of one class, by ascending id.

    Parameters
    ----------
    labels
        Integer, shape (H, W), 0 for none.
    table
        Features with the columns ``index`` and, where known, ``score``.
    lesion
        Class code.
    threshold
        That was applied to the map; NaN where there is none.
    """
    flat = labels.reshape(-1)
    pixels = np.flatnonzero(flat)
    if not len(pixels):
        return []
    ids = flat[pixels].astype(np.int64)
    order = np.argsort(ids, kind="stable")
    ids, (rows, cols) = ids[order], np.divmod(pixels[order], labels.shape[1])
    starts = np.flatnonzero(np.diff(ids, prepend=-1))
    area = np.diff(starts, append=len(ids))
    scores = _scores(table)
    boxes = np.stack(
        [
            np.minimum.reduceat(rows, starts),
            np.minimum.reduceat(cols, starts),
            np.maximum.reduceat(rows, starts) + 1,
            np.maximum.reduceat(cols, starts) + 1,
        ],
        axis=1,
    ).tolist()
    middle_row = np.add.reduceat(rows, starts) / area
    middle_col = np.add.reduceat(cols, starts) / area
    return [
        ReviewedLesion(
            id=int(value),
            lesion=lesion,
            detected=lesion,
            area=int(area[n]),
            centroid=(float(middle_row[n]), float(middle_col[n])),
            box=tuple(boxes[n]),
            score=scores.get(int(value), _NAN),
            threshold=threshold,
        )
        for n, value in enumerate(ids[starts])
    ]


def _scores(table: pd.DataFrame) -> dict[int, float]:
    if not {"index", "score"} <= set(table.columns):
        return {}
    return dict(zip(table["index"].astype(int), table["score"].astype(float), strict=True))


def new_row(table: pd.DataFrame, lesion: ReviewedLesion) -> pd.DataFrame:
    """Return a row with the columns and dtypes of `table`; what is not known is NaN, 0 or empty."""
    known: dict[str, Any] = {
        "index": lesion.id,
        "lesion": lesion.lesion,
        "score": lesion.score,
        **table_measurements(lesion),
    }
    blank = {"f": _NAN, "i": 0, "u": 0, "b": False}
    return pd.DataFrame(
        {
            name: pd.Series([known.get(str(name), blank.get(kind.kind, ""))]).astype(kind)
            for name, kind in table.dtypes.items()
        }
    )


def table_measurements(lesion: ReviewedLesion) -> dict[str, Any]:
    """Return a lesion's size and position from the table."""
    return {
        "area_px": lesion.area,
        "equivalent_diameter_px": float(np.sqrt(4 * lesion.area / np.pi)),
        "centroid_row": lesion.centroid[0],
        "centroid_col": lesion.centroid[1],
    }
