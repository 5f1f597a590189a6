"""The table and the provenance come back as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_fundus.detections import Detections
from napari_fundus.errors import FundusError, OutputExistsError
from napari_fundus.export import (
    read_csv,
    read_provenance,
    write_coco,
    write_csv,
    write_geojson,
    write_provenance,
)


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
    with pytest.raises(FundusError, match="tells no provenance"):
        read_provenance(tmp_path / "x.json")
