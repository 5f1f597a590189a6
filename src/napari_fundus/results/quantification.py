"""How much disease: shares of the field of view, distances to fovea and disc, quadrants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.landmarks import Landmarks, OpticDisc
from napari_fundus.lesions import describe
from napari_fundus.results.detections import Detections

NEAR_FOVEA_DD = 1.0
"""What counts as near the fovea, in disc diameters: hard exudates within one disc diameter of it
are the usual sign, in photographs, by which macular oedema is suspected."""

QUADRANTS = ("superior_temporal", "superior_nasal", "inferior_temporal", "inferior_nasal")
"""The quadrants of the retina, as columns of the summary."""

LESION_COLUMNS: dict[str, str] = {
    "area_percent": "float64",
    "distance_to_disc_px": "float64",
    "distance_to_disc_dd": "float64",
    "distance_to_fovea_px": "float64",
    "distance_to_fovea_dd": "float64",
    "quadrant": "object",
}
"""Columns that :func:`quantify` adds to the table of lesions, and their dtypes."""

SUMMARY_COLUMNS: dict[str, str] = {
    "lesion": "object",
    "count": "int64",
    "area_px": "int64",
    "area_percent": "float64",
    "near_fovea_count": "Int64",
    "near_fovea_area_px": "Int64",
    "near_fovea_percent": "float64",
    **dict.fromkeys(QUADRANTS, "Int64"),
}
"""Columns of the summary and their dtypes; one row a class."""

_CLEARLY_ASIDE = 0.125
"""Distance of the disc from the middle of the field of view, in the field's widths, from which on
it shows where the nose is. In pictures centred on the macula it is about 0.25."""


@dataclass(frozen=True, eq=False)
class Quantification:
    """Measurements of one result; none of them is a diagnosis.

    Attributes
    ----------
    lesions
        The table of lesions, with the columns `LESION_COLUMNS` at its end: share of the field of
        view in %, distances from the lesion's nearest pixel to the centres of the optic disc and
        the fovea, in pixels and in disc diameters, and the quadrant of its centroid. What is not
        known is NaN, and the quadrant empty.
    summary
        One row a class that was looked for, with the columns `SUMMARY_COLUMNS`: how many lesions,
        their area in pixels and in % of the field of view; how many have a pixel within
        `near_dd` disc diameters of the fovea's centre, and the area that lies there; how many have
        their centroid in each quadrant. What is not known is missing. Structures such as the
        optic disc have no row.
    landmarks
        Optic disc and fovea, as far as they are known.
    field_of_view_px
        Area of the field of view, None where the detector gives none.
    near_dd
        What counted as near the fovea, in disc diameters.
    """

    lesions: pd.DataFrame
    summary: pd.DataFrame
    landmarks: Landmarks
    field_of_view_px: int | None
    near_dd: float

    def record(self) -> dict[str, Any]:
        """Return the summary ready for JSON; what is not known is left out."""
        classes = {
            str(row.pop("lesion")): {k: _plain(v) for k, v in row.items() if not pd.isna(v)}
            for row in self.summary.to_dict("records")
        }
        return {
            "field_of_view_px": self.field_of_view_px,
            "near_dd": self.near_dd,
            "landmarks": self.landmarks.model_dump(mode="json", exclude_none=True),
            "classes": classes,
        }


_measured: WeakKeyDictionary[Detections, Quantification] = WeakKeyDictionary()
"""What was measured of results that are still in use: every file of an export asks for it."""


def is_lesion_class(code: str) -> bool:
    """Say whether a class counts as a lesion: healthy anatomy, such as the optic disc, does not."""
    return describe(code).kind != "structure"


def format_percent(percent: float) -> str:
    """Return a share of the field of view for people, two digits long.

    Examples
    --------
    >>> format_percent(0.8167), format_percent(0.0000213), format_percent(0)
    ('0.82 %', '< 0.001 %', '0 %')
    """
    return "< 0.001 %" if 0 < percent < 0.001 else f"{percent:.2g} %"


def quantify(
    detections: Detections,
    landmarks: Landmarks | None = None,
    *,
    near_dd: float = NEAR_FOVEA_DD,
) -> Quantification:
    """Measure the extent of each class of lesion, in the original image's pixels.

    Parameters
    ----------
    detections
        What a detector found.
    landmarks
        Optic disc and fovea; what is left out, or None, is taken from `detections.landmarks`.
    near_dd
        What counts as near the fovea, in disc diameters.

    Notes
    -----
    The quadrants are those of the standard fields of the Early Treatment Diabetic Retinopathy
    Study: parted by the horizontal and the vertical line through the optic disc's centre. They
    are the basis on which the 4-2-1 rule counts haemorrhages. The temporal side is that of the
    fovea, or, where it is not known and the disc lies clearly aside, that of the middle of the
    field of view. The picture is taken to be upright.

    References
    ----------
    ETDRS Research Group: Grading diabetic retinopathy from stereoscopic color fundus photographs.
    ETDRS report number 10. Ophthalmology 98(5 Suppl), 1991, 786–806.

    Examples
    --------
    >>> import napari_fundus as nf
    >>> found = nf.detect(nf.sample_image_path(), "tophat", working_diameter=500)
    >>> sample = nf.open_dataset(nf.sample_image_path().parent)[0]
    >>> measured = nf.quantify(found, sample.landmarks(found.shape))
    >>> list(measured.summary["lesion"])
    ['MA', 'HE', 'EX']
    """
    if landmarks is not None or near_dd != NEAR_FOVEA_DD:
        known = (landmarks or Landmarks()).combine_first(detections.landmarks)
        return _quantify(detections, known, near_dd)
    if detections not in _measured:
        _measured[detections] = _quantify(detections, detections.landmarks, near_dd)
    return _measured[detections]


def _quantify(detections: Detections, known: Landmarks, near_dd: float) -> Quantification:
    field = detections.field_of_view
    field_px = None if field is None else int(np.count_nonzero(field))
    measures = [
        _measure(code, labels, detections.instances, known, near_dd=near_dd)
        for code, labels in detections.labels.items()
    ]
    lesions = _lesion_table(detections, measures, known, field_px)
    sided = _temporal_side(known, field) != 0
    summary = _summary(lesions, measures, field_px, sided=sided)
    return Quantification(lesions, summary, known, field_px, near_dd)


@dataclass(frozen=True, eq=False)
class _Measure:
    """What the pixels of a class tell; the arrays go with the rows of its table of lesions."""

    code: str
    to_disc: npt.NDArray[np.float64]
    to_fovea: npt.NDArray[np.float64]
    near_area: int | None
    near_count: int | None


def _measure(
    code: str,
    labels: npt.NDArray[np.int32],
    instances: pd.DataFrame,
    known: Landmarks,
    *,
    near_dd: float,
) -> _Measure:
    ids = instances.loc[instances["lesion"] == code, "id"].to_numpy(np.int64)
    unknown = np.full(len(ids), np.nan)
    diameter = known.disc.diameter if known.disc else None
    reach = near_dd * diameter if known.fovea and diameter else None
    if not known:
        return _Measure(code, unknown, unknown, None, None)
    pixels = np.flatnonzero(labels != 0)  # of a mask, for it is far quicker
    rows, cols = np.divmod(pixels, labels.shape[1])
    # Ids of a class follow each other without a gap.
    lesion = labels.reshape(-1)[pixels] - (int(ids[0]) if len(ids) else 0)
    to_disc = to_fovea = unknown
    near_area = near_count = None
    if known.disc is not None:
        far = np.hypot(rows - known.disc.row, cols - known.disc.col)
        to_disc = _nearest(far, lesion, len(ids))
    if known.fovea is not None:
        far = np.hypot(rows - known.fovea.row, cols - known.fovea.col)
        to_fovea = _nearest(far, lesion, len(ids))
        if reach is not None:
            near_area = int(np.count_nonzero(far <= reach))
            near_count = int(np.count_nonzero(to_fovea <= reach))
    return _Measure(code, to_disc, to_fovea, near_area, near_count)


def _nearest(
    far: npt.NDArray[np.float64], lesion: npt.NDArray[np.int32], count: int
) -> npt.NDArray[np.float64]:
    nearest = np.full(count, np.inf)
    np.minimum.at(nearest, lesion, far)
    return nearest


def _lesion_table(
    detections: Detections, measures: list[_Measure], known: Landmarks, field_px: int | None
) -> pd.DataFrame:
    table = detections.instances.copy()
    diameter = known.disc.diameter if known.disc else None
    empty = [np.empty(0)]
    to_disc = np.concatenate([m.to_disc for m in measures] or empty)
    to_fovea = np.concatenate([m.to_fovea for m in measures] or empty)
    table["area_percent"] = _percent(table["area_px"].to_numpy(np.float64), field_px)
    table["distance_to_disc_px"] = to_disc
    table["distance_to_disc_dd"] = to_disc / (diameter or np.nan)
    table["distance_to_fovea_px"] = to_fovea
    table["distance_to_fovea_dd"] = to_fovea / (diameter or np.nan)
    table["quadrant"] = _quadrants(table, known, detections.field_of_view)
    return table.astype(LESION_COLUMNS)


def _percent(area: npt.NDArray[np.float64], field_px: int | None) -> npt.NDArray[np.float64]:
    return 100 * area / (field_px or np.nan)


def _quadrants(
    table: pd.DataFrame, known: Landmarks, field: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.object_]:
    names = np.full(len(table), "", object)
    side = _temporal_side(known, field)
    if known.disc is None or side == 0:
        return names
    superior = table["centroid_row"].to_numpy() < known.disc.row
    temporal = side * (table["centroid_col"].to_numpy() - known.disc.col) > 0
    place = 2 * (~superior).astype(int) + (~temporal).astype(int)
    return np.asarray(np.array(QUADRANTS, object)[place])


def _temporal_side(known: Landmarks, field: npt.NDArray[np.bool_] | None) -> int:
    """Return 1 where the temple is to the right of the disc, -1 to the left, 0 if not known."""
    disc: OpticDisc | None = known.disc
    if disc is None:
        return 0
    if known.fovea is not None:
        return int(np.sign(known.fovea.col - disc.col))
    if field is None or not field.any():
        return 0
    cols = np.flatnonzero(field.any(axis=0))
    aside = (cols[0] + cols[-1]) / 2 - disc.col
    return int(np.sign(aside)) if abs(aside) >= _CLEARLY_ASIDE * (np.ptp(cols) + 1) else 0


def _summary(
    lesions: pd.DataFrame, measures: list[_Measure], field_px: int | None, *, sided: bool
) -> pd.DataFrame:
    rows: list[Mapping[str, Any]] = []
    for measure in measures:
        if not is_lesion_class(measure.code):
            continue
        mine = lesions[lesions["lesion"] == measure.code]
        area = int(mine["area_px"].sum())
        near = np.array([measure.near_area if measure.near_area is not None else np.nan])
        counts = mine["quadrant"].value_counts()
        rows.append(
            {
                "lesion": measure.code,
                "count": len(mine),
                "area_px": area,
                "area_percent": _percent(np.array([float(area)]), field_px)[0],
                "near_fovea_count": measure.near_count,
                "near_fovea_area_px": measure.near_area,
                "near_fovea_percent": _percent(near, field_px)[0],
                **{name: int(counts.get(name, 0)) if sided else None for name in QUADRANTS},
            }
        )
    return pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS)).astype(SUMMARY_COLUMNS)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
