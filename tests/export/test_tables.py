"""The table and the provenance come back as they were."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_fundus.errors import FundusError, OutputExistsError
from napari_fundus.export import (
    read_csv,
    read_provenance,
    to_coco,
    to_geojson,
    write_coco,
    write_csv,
    write_geojson,
    write_provenance,
)
from napari_fundus.landmarks import Fovea, Landmarks, OpticDisc
from napari_fundus.results.detections import Detections
from napari_fundus.results.instances import INSTANCE_COLUMNS
from napari_fundus.results.quantification import LESION_COLUMNS, quantify


def test_the_table_comes_back_exactly(result: Detections, tmp_path: Path) -> None:
    write_csv(result, tmp_path / "eye.csv")
    assert len(result.instances) > 20
    pd.testing.assert_frame_equal(
        read_csv(tmp_path / "eye.csv"), result.instances, check_exact=True
    )


def test_a_table_without_lesions_comes_back_with_its_columns(make, tmp_path: Path) -> None:
    nothing = make({"MA": np.zeros((70, 70), np.float32)})
    write_csv(nothing, tmp_path / "eye.csv")
    pd.testing.assert_frame_equal(read_csv(tmp_path / "eye.csv"), nothing.instances)


def test_a_class_called_na_is_not_a_missing_value(make, tmp_path: Path) -> None:
    found = make({"NA": np.ones((70, 70), np.float32)})
    write_csv(found, tmp_path / "eye.csv")
    assert list(read_csv(tmp_path / "eye.csv")["lesion"]) == ["NA"]


def test_the_csv_is_nothing_but_a_table(result: Detections, tmp_path: Path) -> None:
    write_csv(result, tmp_path / "eye.csv")
    lines = (tmp_path / "eye.csv").read_text().splitlines()
    assert lines[0].startswith("id,lesion,score,")
    assert len(lines) == 1 + len(result.instances)


def test_another_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(FundusError, match="not a table of lesions"):
        read_csv(tmp_path / "other.csv")


@pytest.mark.parametrize("write", [write_provenance, write_coco, write_geojson])
def test_provenance_is_in_every_json(write, result: Detections, tmp_path: Path) -> None:
    write(result, tmp_path / "eye.json")
    assert read_provenance(tmp_path / "eye.json") == result.provenance
    with pytest.raises(OutputExistsError):
        write(result, tmp_path / "eye.json")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"provenance": {"detector": 1}}'])
def test_a_file_without_provenance_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(FundusError, match="holds no provenance"):
        read_provenance(tmp_path / "x.json")


def known(result: Detections) -> Detections:
    """The result with its landmarks: a disc over the lesion at (0, 0), and a fovea."""
    disc, fovea = OpticDisc(row=0, col=0, diameter=20), Fovea(row=60, col=80)
    return replace(result, given_landmarks=Landmarks(disc=disc, fovea=fovea))


def test_the_csv_tells_the_extent_of_each_lesion(result: Detections, tmp_path: Path) -> None:
    found = known(result.threshold(min_area=1))
    write_csv(found, tmp_path / "eye.csv")
    table = pd.read_csv(tmp_path / "eye.csv", dtype=LESION_COLUMNS)
    assert list(table.columns) == [*INSTANCE_COLUMNS, *LESION_COLUMNS]
    pd.testing.assert_frame_equal(
        table[list(LESION_COLUMNS)], quantify(found).lesions[list(LESION_COLUMNS)]
    )
    pd.testing.assert_frame_equal(read_csv(tmp_path / "eye.csv"), found.instances)


def test_without_landmarks_the_columns_are_there_and_empty(
    result: Detections, tmp_path: Path
) -> None:
    write_csv(result, tmp_path / "eye.csv")
    table = pd.read_csv(tmp_path / "eye.csv")
    assert table["area_percent"].notna().all()
    unknown = [name for name in LESION_COLUMNS if name != "area_percent"]
    assert table[unknown].isna().all(axis=None)


def test_the_provenance_file_tells_extent_and_landmarks(result: Detections, tmp_path: Path) -> None:
    found = known(result)
    write_provenance(found, tmp_path / "eye.json")
    content = json.loads((tmp_path / "eye.json").read_text())
    assert content["extent"] == quantify(found).record()
    assert content["landmarks"]["disc"]["diameter"] == 20


def test_a_lesion_on_the_landmark_has_distance_0_in_json(result: Detections) -> None:
    found = known(result.threshold(min_area=1))
    lesions = found.instances
    corner = lesions[(lesions["centroid_row"] == 0) & (lesions["centroid_col"] == 0)]
    number = int(corner["id"].iloc[0])
    by_id = {a["instance_id"]: a["extent"] for a in to_coco([found])["annotations"]}
    assert by_id[number]["distance_to_disc_px"] == 0
    assert by_id[number]["quadrant"] == "inferior_nasal"
    measured = {
        f["properties"]["measurements"]["Instance id"]: f["properties"]["measurements"]
        for f in to_geojson(found)["features"]
    }
    assert measured[number]["Distance to disc DD"] == 0
    assert measured[number]["Distance to fovea px"] == pytest.approx(100)
    assert all(isinstance(v, int | float) for m in measured.values() for v in m.values())


@pytest.mark.parametrize("cell", ["", "9" * 400, "1e999", "nan", "x"])
def test_an_id_that_is_no_number_is_refused(cell: str, result: Detections, tmp_path: Path) -> None:
    path = tmp_path / "eye.csv"
    write_csv(result, path)
    head, first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([head, cell + first[first.index(",") :], *rest]))
    with pytest.raises(FundusError, match="not a table of lesions"):
        read_csv(path)


def test_cells_too_many_do_not_move_the_others(result: Detections, tmp_path: Path) -> None:
    path = tmp_path / "eye.csv"
    write_csv(result, path)
    before = read_csv(path)
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *(row + "," * 5000 for row in rows)]))
    pd.testing.assert_frame_equal(read_csv(path), before)


def test_provenance_that_is_nothing_but_nesting_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "eye.json"
    path.write_text('{"provenance":' * 50_000)
    with pytest.raises(FundusError, match="holds no provenance"):
        read_provenance(path)
