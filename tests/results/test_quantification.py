"""Areas, distances and quadrants of drawn circles, and what is said where nothing is known."""

from __future__ import annotations

import gc
import json
import weakref

import numpy as np
import pandas as pd
import pytest

from napari_fundus.landmarks import Fovea, Landmarks, OpticDisc
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.instances import INSTANCE_COLUMNS
from napari_fundus.results.quantification import (
    LESION_COLUMNS,
    QUADRANTS,
    SUMMARY_COLUMNS,
    quantify,
)

SHAPE = (400, 500)


def circle(row, col, diameter):
    rows, cols = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return (rows - row) ** 2 + (cols - col) ** 2 <= (diameter / 2) ** 2


FIELD = circle(200, 250, 390)
DISC = OpticDisc(row=200, col=350, diameter=60)
FOVEA = Fovea(row=210, col=200)
BOTH = Landmarks(disc=DISC, fovea=FOVEA)


def result(*, field=FIELD, given=BOTH, **masks):
    maps = {
        code: np.where(np.any(drawn, axis=0), np.float32(0.9), np.float32(0))
        if drawn
        else np.zeros(SHAPE, np.float32)
        for code, drawn in masks.items()
    }
    return Detections(
        Provenance(detector="drawn", detector_version="1", package_version="0", image_shape=SHAPE),
        maps,
        dict.fromkeys(maps, 0.5),
        field_of_view=field,
        given_landmarks=given or Landmarks(),
    )


@pytest.fixture
def drawn():
    """Exudates at 40 and 100 px from the fovea, haemorrhages in three of the quadrants."""
    return result(
        MA=[],
        HE=[circle(100, 300, 10), circle(120, 280, 12), circle(300, 300, 10), circle(250, 400, 8)],
        EX=[circle(210, 240, 20), circle(210, 100, 20)],
    )


def row_of(summary: pd.DataFrame, code: str) -> pd.Series:
    return summary.set_index("lesion").loc[code]


def test_distances_are_those_of_the_nearest_pixel(drawn) -> None:
    table = quantify(drawn).lesions
    near, far = table[table["lesion"] == "EX"].sort_values("distance_to_fovea_px").itertuples()
    assert near.distance_to_fovea_px == pytest.approx(40 - 10)
    assert far.distance_to_fovea_px == pytest.approx(100 - 10)
    assert near.distance_to_fovea_dd == pytest.approx(30 / 60)
    assert near.distance_to_disc_px == pytest.approx(np.hypot(10, 110) - 10, abs=0.7)
    assert near.distance_to_disc_dd == near.distance_to_disc_px / 60


def test_each_lesion_has_its_own_distance_whatever_the_order_of_ids(drawn) -> None:
    table = quantify(drawn).lesions
    for row in table.itertuples():
        rows, cols = np.nonzero(drawn.labels[row.lesion] == row.id)
        nearest = np.hypot(rows - FOVEA.row, cols - FOVEA.col).min()
        assert row.distance_to_fovea_px == pytest.approx(nearest)


def test_areas_are_shares_of_the_field_of_view(drawn) -> None:
    measured = quantify(drawn)
    field = int(FIELD.sum())
    exudates = row_of(measured.summary, "EX")
    assert measured.field_of_view_px == field
    assert (exudates["count"], exudates["area_px"]) == (2, 2 * circle(210, 240, 20).sum())
    assert exudates["area_percent"] == pytest.approx(100 * exudates["area_px"] / field)
    assert measured.lesions["area_percent"].sum() == pytest.approx(
        measured.summary["area_percent"].sum()
    )


def test_near_the_fovea_counts_lesions_and_only_the_area_within() -> None:
    astride = circle(210, 260, 20)  # its centre lies on the limit of one disc diameter
    found = result(EX=[astride, circle(210, 100, 20)])
    exudates = row_of(quantify(found).summary, "EX")
    within = astride & circle(FOVEA.row, FOVEA.col, 2 * 60)
    assert exudates["near_fovea_count"] == 1
    assert exudates["near_fovea_area_px"] == within.sum()
    assert exudates["near_fovea_percent"] == pytest.approx(100 * within.sum() / FIELD.sum())
    assert row_of(quantify(found, near_dd=0.5).summary, "EX")["near_fovea_count"] == 0
    assert row_of(quantify(found, near_dd=2).summary, "EX")["near_fovea_count"] == 2


def test_quadrants_are_parted_by_the_lines_through_the_disc(drawn) -> None:
    measured = quantify(drawn)
    haemorrhages = row_of(measured.summary, "HE")
    assert [haemorrhages[name] for name in QUADRANTS] == [2, 0, 1, 1]
    right = quantify(drawn, Landmarks(fovea=Fovea(row=200, col=480)))
    assert [row_of(right.summary, "HE")[name] for name in QUADRANTS] == [0, 2, 1, 1]
    lesions = measured.lesions
    lower = lesions[(lesions["lesion"] == "HE") & (lesions["centroid_row"] == 250)]
    assert list(lower["quadrant"]) == ["inferior_nasal"]


def test_without_fovea_the_disc_s_side_tells_where_the_temple_is() -> None:
    found = result(given=Landmarks(disc=DISC), HE=[circle(100, 300, 10)])
    assert list(quantify(found).lesions["quadrant"]) == ["superior_temporal"]
    central = Landmarks(disc=OpticDisc(row=200, col=245, diameter=60))
    summary = quantify(result(given=central, HE=[circle(100, 300, 10)])).summary
    assert summary[list(QUADRANTS)].isna().all(axis=None)


def test_a_class_without_lesion_is_counted_as_none_not_as_unknown(drawn) -> None:
    nothing = row_of(quantify(drawn).summary, "MA")
    assert (nothing["count"], nothing["area_px"], nothing["area_percent"]) == (0, 0, 0.0)
    assert (nothing["near_fovea_count"], nothing["superior_nasal"]) == (0, 0)


def test_what_is_not_known_is_missing_and_no_zero() -> None:
    found = result(field=None, given=None, EX=[circle(210, 240, 20)])
    measured = quantify(found)
    exudates = row_of(measured.summary, "EX")
    assert exudates["count"] == 1
    assert measured.field_of_view_px is None
    known = ["count", "area_px"]
    assert exudates.drop(known).isna().all()
    table = measured.lesions[list(LESION_COLUMNS)]
    assert table.drop(columns="quadrant").isna().all(axis=None)
    assert list(table["quadrant"]) == [""]
    record = measured.record()
    assert record["classes"] == {"EX": {"count": 1, "area_px": int(exudates["area_px"])}}
    assert record["landmarks"] == {}


def test_without_the_disc_s_diameter_nothing_is_in_disc_diameters() -> None:
    centres = Landmarks(disc=OpticDisc(row=200, col=350), fovea=FOVEA)
    measured = quantify(result(given=centres, EX=[circle(210, 240, 20)]))
    (row,) = measured.lesions.itertuples()
    assert row.distance_to_fovea_px == pytest.approx(30)
    assert np.isnan(row.distance_to_fovea_dd)
    assert pd.isna(row_of(measured.summary, "EX")["near_fovea_count"])
    assert row_of(measured.summary, "EX")["superior_temporal"] + 1 == 1


def test_the_disc_of_the_detector_s_map_is_used_and_is_no_lesion() -> None:
    found = result(given=None, OD=[circle(200, 350, 60)], EX=[circle(210, 240, 20)])
    measured = quantify(found, Landmarks(fovea=FOVEA))
    assert measured.landmarks.disc is not None
    assert measured.landmarks.disc.source == "detected"
    assert measured.landmarks.disc.diameter == pytest.approx(60, abs=1.5)
    assert list(measured.summary["lesion"]) == ["EX"]
    assert row_of(measured.summary, "EX")["near_fovea_count"] == 1


def test_landmarks_of_the_call_come_before_those_of_the_result(drawn) -> None:
    moved = quantify(drawn, Landmarks(fovea=Fovea(row=210, col=240)))
    assert moved.landmarks.disc == DISC
    assert moved.lesions["distance_to_fovea_px"].min() == pytest.approx(0)


@pytest.mark.parametrize("masks", [{}, {"EX": []}], ids=["no class", "no lesion"])
def test_no_lesion_gives_tables_with_all_columns(masks) -> None:
    measured = quantify(result(**masks))
    assert list(measured.lesions.columns) == [*INSTANCE_COLUMNS, *LESION_COLUMNS]
    assert measured.lesions.empty
    assert dict(measured.summary.dtypes.astype(str)) == SUMMARY_COLUMNS
    assert len(measured.summary) == len(masks)


def test_an_empty_field_of_view_has_no_shares() -> None:
    found = result(field=np.zeros(SHAPE, np.bool_), given=Landmarks(disc=DISC), EX=[])
    assert quantify(found).summary["area_percent"].isna().all()


def test_the_record_is_plain_json(drawn) -> None:
    record = quantify(drawn).record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["classes"]["HE"]["superior_temporal"] == 2
    assert record["landmarks"]["fovea"] == {"row": 210.0, "col": 200.0, "source": "annotated"}


def test_another_threshold_of_the_disc_finds_it_anew() -> None:
    found = result(given=None, OD=[circle(200, 350, 60)])
    assert found.landmarks.disc is not None
    assert not found.threshold({"OD": 0.95}).landmarks


def test_a_result_is_measured_once_and_forgotten_with_it() -> None:
    found = result(EX=[circle(210, 240, 20)])
    first = quantify(found)
    assert quantify(found) is first
    assert quantify(found, near_dd=2) is not first
    assert quantify(found.threshold(0.95)).lesions.empty
    watched = weakref.ref(first)
    del first, found
    gc.collect()
    assert watched() is None


def test_a_lesion_at_the_very_limit_is_near_the_fovea() -> None:
    for col, near in ((260, 1), (261, 0)):  # the disc's diameter of 60 px from column 200
        found = row_of(quantify(result(EX=[circle(210, col, 1)])).summary, "EX")
        assert (found["near_fovea_count"], found["near_fovea_area_px"]) == (near, near)


@pytest.mark.parametrize(
    ("row", "col", "quadrant"),
    [
        (200, 350, "inferior_nasal"),  # on both lines
        (199, 350, "superior_nasal"),
        (200, 349, "inferior_temporal"),
        (199, 349, "superior_temporal"),
    ],
)
def test_a_lesion_on_a_line_is_inferior_or_nasal(row, col, quadrant) -> None:
    assert list(quantify(result(HE=[circle(row, col, 1)])).lesions["quadrant"]) == [quadrant]


@pytest.mark.parametrize(
    ("aside", "quadrant"),
    [
        (48.875, "superior_temporal"),  # an eighth of the field, columns 55 to 445
        (-48.875, "superior_nasal"),
        (48.75, ""),
        (-48.75, ""),
    ],
)
def test_the_disc_shows_the_side_from_an_eighth_of_the_field_on(aside, quadrant) -> None:
    given = Landmarks(disc=OpticDisc(row=200, col=250 + aside, diameter=60))
    found = result(given=given, HE=[circle(100, 190, 1)])
    assert list(quantify(found).lesions["quadrant"]) == [quadrant]
