"""Two results on one image: which lesions both found, which only one, and how they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_fundus.errors import OptionsError
from napari_fundus.evaluation.assessment import Assessment, assess
from napari_fundus.results.detections import Detections

BOTH, ONLY_A, ONLY_B = "both", "only A", "only B"

Index = npt.NDArray[np.int64]

_COLUMNS = {
    "lesion": "object", "where": "object", "id_a": "int64", "id_b": "int64",
    "score_a": "float64", "score_b": "float64", "score_difference": "float64",
    "area_a": "int64", "area_b": "int64", "area_difference": "int64", "iou": "float64",
    "centroid_row": "float64", "centroid_col": "float64",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class ClassAgreement:
    """The pixels of one class that both results have, or only one of them.

    Attributes
    ----------
    both, only_a, only_b
        int64: flat indices of pixels, ascending.
    """

    both: Index
    only_a: Index
    only_b: Index

    @property
    def dice(self) -> float:
        """Agreement of the pixels, 2 |A ∩ B| / (|A| + |B|); NaN where neither has any."""
        total = 2 * len(self.both) + len(self.only_a) + len(self.only_b)
        return 2 * len(self.both) / total if total else float("nan")


@dataclass(frozen=True, eq=False)
class Agreement:
    """How two results on the same image agree.

    Attributes
    ----------
    titles
        Of A and of B.
    shape
        Height and width of the image.
    lesions
        One row a lesion: class, ``where`` (both, only A, only B), ids (0 for none), scores, areas
        (px), their differences (A minus B; only where both have it), IoU and centroid.
    summary
        One row a class: counts in A and B, matched, only in one, Dice of the pixels, mean
        differences of score and area of the matched.
    pixels
        Class code to its pixels.
    against_truth
        Figures of A and B against the truth; empty where there is none.
    """

    titles: tuple[str, str]
    shape: tuple[int, int]
    lesions: pd.DataFrame
    summary: pd.DataFrame
    pixels: Mapping[str, ClassAgreement]
    against_truth: Mapping[str, Assessment] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"A: {self.titles[0]}\nB: {self.titles[1]}\n{self.summary.to_string(index=False)}"

    def _repr_html_(self) -> str:
        titles = f"A: <b>{escape(self.titles[0])}</b>, B: <b>{escape(self.titles[1])}</b>"
        return titles + self.summary.to_html(index=False, border=0, float_format="{:.3f}".format)


def compare(
    a: Detections, b: Detections, *, truth: Mapping[str, npt.NDArray[Any]] | None = None
) -> Agreement:
    """Compare two results, each at its own thresholds and minimum area.

    Lesions are matched one to one within a class, so that the sum of their IoU is the largest;
    those that share no pixel are never matched.

    Parameters
    ----------
    a, b
        Results on the same image.
    truth
        Class code to the experts' mask, bool or labels, shape (H, W), where there is one.

    Raises
    ------
    OptionsError
        The images differ in size, or no class stands in both.
    """
    if a.shape != b.shape:
        raise OptionsError(
            f"The results are of images of different size: {a.shape} and {b.shape}. Choose two of "
            "one image."
        )
    codes = [code for code in a.lesions if code in b.probability]
    if not codes:
        raise OptionsError(
            f"A has {', '.join(a.lesions)}, B {', '.join(b.lesions)}: no class stands in both."
        )
    tables, rows, pixels = [], [], {}
    for code in codes:
        table, pixels[code] = _compare_class(a, b, code)
        tables.append(table)
        rows.append(_summary(code, table, pixels[code]))
    judged = {}
    masks = {code: mask for code, mask in (truth or {}).items() if code in codes}
    if masks:
        judged = {name: assess(result, masks) for name, result in (("A", a), ("B", b))}
    return Agreement(
        (_title(a), _title(b)),
        a.shape,
        pd.concat(tables, ignore_index=True).astype(_COLUMNS),
        pd.DataFrame(rows),
        pixels,
        judged,
    )


def match_lesions(
    a: npt.NDArray[np.integer[Any]], b: npt.NDArray[np.integer[Any]]
) -> list[tuple[int, int, float]]:
    """Match the lesions of two label images one to one.

    Parameters
    ----------
    a, b
        Labels of the same pixels, the same shape; 0 for background.

    Returns
    -------
    list of (id in `a`, id in `b`, IoU)
        In the order of the ids in `a`. Of all ways to match, one with the largest sum of IoU.

    Examples
    --------
    >>> match_lesions(np.array([1, 1, 0, 2]), np.array([0, 5, 5, 0]))
    [(1, 5, 0.3333333333333333)]
    """
    if a.shape != b.shape:
        raise ValueError(f"The labels have shapes {a.shape} and {b.shape}.")
    ids_a, sizes_a = np.unique(a[a > 0], return_counts=True)
    ids_b, sizes_b = np.unique(b[b > 0], return_counts=True)
    shared = (a > 0) & (b > 0)
    if not shared.any():
        return []
    row, col = np.searchsorted(ids_a, a[shared]), np.searchsorted(ids_b, b[shared])
    pair, common = np.unique(row * len(ids_b) + col, return_counts=True)
    row, col = np.divmod(pair, len(ids_b))
    iou = common / (sizes_a[row] + sizes_b[col] - common)
    # Lesions that overlap in a chain are a small problem of their own; the whole would be a large
    # matrix of almost nothing.
    nodes = len(ids_a) + len(ids_b)
    graph = coo_array((np.ones(len(row)), (row, len(ids_a) + col)), shape=(nodes, nodes))
    _, group = connected_components(graph, directed=False)
    found = []
    order = np.argsort(group[row], kind="stable")
    cuts = np.flatnonzero(np.diff(group[row][order])) + 1
    for indices in np.split(order, cuts):
        rows, cols = np.unique(row[indices]), np.unique(col[indices])
        gain = np.zeros((len(rows), len(cols)))
        gain[np.searchsorted(rows, row[indices]), np.searchsorted(cols, col[indices])] = iou[
            indices
        ]
        for i, j in zip(*linear_sum_assignment(gain, maximize=True), strict=True):
            if gain[i, j] > 0:
                found.append((int(ids_a[rows[i]]), int(ids_b[cols[j]]), float(gain[i, j])))
    return sorted(found)


def _compare_class(a: Detections, b: Detections, code: str) -> tuple[pd.DataFrame, ClassAgreement]:
    labels_a, labels_b = a.labels[code].reshape(-1), b.labels[code].reshape(-1)
    indices = np.flatnonzero((labels_a > 0) | (labels_b > 0))
    of_a, of_b = labels_a[indices], labels_b[indices]
    in_a, in_b = of_a > 0, of_b > 0
    pixels = ClassAgreement(indices[in_a & in_b], indices[in_a & ~in_b], indices[~in_a & in_b])
    rows_a, rows_b = _rows(a, code), _rows(b, code)
    rows = []
    for id_a, id_b, iou in match_lesions(of_a, of_b):
        mine, other = rows_a.pop(id_a), rows_b.pop(id_b)
        rows.append(
            {
                "where": BOTH, "id_a": id_a, "id_b": id_b,
                "score_a": mine["score"], "score_b": other["score"],
                "score_difference": mine["score"] - other["score"],
                "area_a": mine["area_px"], "area_b": other["area_px"],
                "area_difference": mine["area_px"] - other["area_px"], "iou": iou,
                "centroid_row": (mine["centroid_row"] + other["centroid_row"]) / 2,
                "centroid_col": (mine["centroid_col"] + other["centroid_col"]) / 2,
            }
        )  # fmt: skip
    for where, side, left in ((ONLY_A, "a", rows_a), (ONLY_B, "b", rows_b)):
        for number, row in left.items():
            rows.append(
                {
                    "where": where, "id_a": 0, "id_b": 0, "area_a": 0, "area_b": 0,
                    "area_difference": 0, f"id_{side}": number,
                    f"score_{side}": row["score"], f"area_{side}": row["area_px"], "iou": 0.0,
                    "centroid_row": row["centroid_row"], "centroid_col": row["centroid_col"],
                }
            )  # fmt: skip
    table = pd.DataFrame(rows, columns=list(_COLUMNS)).assign(lesion=code)
    return table.astype(_COLUMNS), pixels


def _rows(detections: Detections, code: str) -> dict[int, dict[str, Any]]:
    table = detections.instances
    mine = table[table["lesion"] == code].to_dict("records")
    return {int(row["id"]): {str(k): v for k, v in row.items()} for row in mine}


def _summary(code: str, table: pd.DataFrame, pixels: ClassAgreement) -> dict[str, Any]:
    counts = table["where"].value_counts()
    both, only_a, only_b = (int(counts.get(name, 0)) for name in (BOTH, ONLY_A, ONLY_B))
    matched = table[table["where"] == BOTH]
    return {
        "lesion": code,
        "A": both + only_a,
        "B": both + only_b,
        "both": both,
        "only A": only_a,
        "only B": only_b,
        "dice": pixels.dice,
        "score difference": float(matched["score_difference"].mean()) if both else float("nan"),
        "area difference": float(matched["area_difference"].mean()) if both else float("nan"),
    }


def _title(detections: Detections) -> str:
    ran = detections.provenance
    return f"{ran.detector} ({ran.checkpoint})" if ran.checkpoint else ran.detector
