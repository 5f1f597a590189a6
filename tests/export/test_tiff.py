"""TIFF files give back the very arrays, are tiled and compressed, and tell where they come from."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from napari_fundus.errors import FundusError, OutputExistsError
from napari_fundus.export import (
    load_detections,
    read_labels_tiff,
    read_probability_tiff,
    write_labels_tiff,
    write_probability_tiff,
)
from napari_fundus.landmarks import Fovea, Landmarks
from napari_fundus.results.detections import Detections
from napari_fundus.results.objects import LesionObject, trim_box


def assert_same(first: Detections, second: Detections) -> None:
    for field in ("provenance", "min_area", "has_boxes", "lesions", "given_landmarks"):
        assert getattr(first, field) == getattr(second, field)
    assert dict(first.thresholds) == dict(second.thresholds)
    assert dict(first.image_score) == dict(second.image_score)
    for field in ("probability", "heatmap", "labels"):
        maps, others = getattr(first, field), getattr(second, field)
        assert list(maps) == list(others)
        for code in maps:
            assert maps[code].dtype == others[code].dtype
            np.testing.assert_array_equal(maps[code], others[code])
    if first.field_of_view is None:
        assert second.field_of_view is None
    else:
        np.testing.assert_array_equal(first.field_of_view, second.field_of_view)


@pytest.mark.parametrize("name", ["eye", "eye.probability.tif"])
def test_a_result_comes_back_equal(result: Detections, tmp_path: Path, name: str) -> None:
    changed = result.threshold({"MA": 0.123456789012345}, min_area=3)
    changed = replace(changed, given_landmarks=Landmarks(fovea=Fovea(row=0.1, col=2)))
    write_probability_tiff(changed, tmp_path / "eye.probability.tif")
    assert_same(load_detections(tmp_path / name), changed)


def test_a_page_may_have_any_name(result: Detections, tmp_path: Path) -> None:
    staged = replace(result, stages={"0.5× – Kandidaten": result.probability["MA"]})
    write_probability_tiff(staged, tmp_path / "eye.probability.tif")
    back = load_detections(tmp_path / "eye.probability.tif")
    assert_same(back, staged)
    np.testing.assert_array_equal(back.stages["0.5× – Kandidaten"], result.probability["MA"])
    with tifffile.TiffFile(tmp_path / "eye.probability.tif") as file:
        names = [page.tags["PageName"].value for page in file.pages]
    assert "0.5× – Kandidaten stage" in names


def test_a_name_with_dots_is_found(result: Detections, tmp_path: Path) -> None:
    write_probability_tiff(result, tmp_path / "eye.2.probability.tif")
    assert_same(load_detections(tmp_path / "eye.2"), result)


def test_a_result_without_maps_comes_back(make, tmp_path: Path) -> None:
    classifier = make({}, shape=(70, 80), image_score={"referable": 0.25})
    write_probability_tiff(classifier, tmp_path / "x.probability.tif")
    assert_same(load_detections(tmp_path / "x"), classifier)
    write_labels_tiff(classifier, tmp_path / "x.labels.tif")
    assert read_labels_tiff(tmp_path / "x.labels.tif") == ({}, classifier.provenance)


def test_labels_come_back_with_their_provenance(result: Detections, tmp_path: Path) -> None:
    write_labels_tiff(result, tmp_path / "eye.labels.tif")
    labels, provenance = read_labels_tiff(tmp_path / "eye.labels.tif")
    assert provenance == result.provenance
    assert list(labels) == ["MA", "EX", "drusen"]
    for code, array in labels.items():
        assert array.dtype == np.int32
        np.testing.assert_array_equal(array, result.labels[code])


def test_other_programs_see_tiled_compressed_named_pages(
    result: Detections, tmp_path: Path
) -> None:
    write_labels_tiff(result, tmp_path / "eye.labels.tif")
    with tifffile.TiffFile(tmp_path / "eye.labels.tif") as tiff:
        assert all(page.is_tiled and page.compression == 8 for page in tiff.pages)
        assert [page.tags[285].value for page in tiff.pages] == [
            "microaneurysm labels",
            "hard exudate labels",
            "drusen labels",
        ]
        head = json.loads(tiff.pages[0].description)
    assert head["provenance"]["detector"] == "drawn"
    assert tifffile.imread(tmp_path / "eye.labels.tif").shape == (3, 120, 160)


def test_nothing_is_overwritten_unless_asked(result: Detections, tmp_path: Path) -> None:
    path = tmp_path / "eye.tif"
    write_labels_tiff(result, path)
    with pytest.raises(OutputExistsError):
        write_labels_tiff(result, path)
    write_labels_tiff(result, path, overwrite=True)


@pytest.mark.parametrize("length", [0, 8, 200, 1000])
def test_a_damaged_file_is_refused_with_its_name(
    result: Detections, tmp_path: Path, length: int
) -> None:
    write_probability_tiff(result, tmp_path / "eye.probability.tif")
    whole = (tmp_path / "eye.probability.tif").read_bytes()
    (tmp_path / "eye.probability.tif").write_bytes(whole[:length])
    with pytest.raises(FundusError, match=r"eye\.probability\.tif"):
        load_detections(tmp_path / "eye")


def test_a_tile_that_claims_more_than_the_file_takes_no_memory(
    result: Detections, tmp_path: Path
) -> None:
    path = tmp_path / "eye.labels.tif"
    write_labels_tiff(result, path)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["TileByteCounts"].overwrite([1 << 31])
    tracemalloc.start()
    try:
        with pytest.raises(FundusError, match="a tile is larger than the file"):
            read_labels_tiff(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 26


def test_a_tiff_of_others_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "other.tif", np.zeros((9, 9), np.int32))
    with pytest.raises(FundusError, match="not a TIFF written by napari-fundus"):
        read_labels_tiff(tmp_path / "other.tif")


def test_a_missing_file_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_detections(tmp_path / "eye")


def test_a_map_of_twelve_megapixels_is_read_as_it_was_written(make, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    probability = np.zeros((2848, 4288), np.float32)
    probability[::4] = rng.random((712, 4288), np.float32)
    found = make({"MA": probability})
    write_probability_tiff(found, tmp_path / "x.probability.tif")
    np.testing.assert_array_equal(load_detections(tmp_path / "x").probability["MA"], probability)


def packed(
    lesion: str, score: float, row: int, size: tuple[int, int], counts: str
) -> dict[str, object]:
    """Return an object as it stands in the file."""
    return {
        "lesion": lesion,
        "score": score,
        "row": row,
        "col": 0,
        "size": size,
        "counts": counts,
    }


def with_objects(result: Detections) -> Detections:
    """Return the result with objects of one class: overlapping, of odd shape, at the edges."""
    rng = np.random.default_rng(0)
    objects = [
        LesionObject("EX", float(np.float32(score)), row, col, rng.random(shape) < share)
        for score, row, col, shape, share in (
            (0.9, 0, 0, (9, 11), 0.6),
            (0.07, 5, 5, (20, 30), 0.6),
            (1 / 3, 100, 130, (20, 30), 0.6),
            (0.6, 119, 159, (1, 1), 2),
        )
    ]
    return replace(result, objects=(*objects, LesionObject("MA", 1, 9, 9, np.ones((3, 3), bool))))


def test_objects_come_back_as_they_were_those_below_the_threshold_too(
    result: Detections, tmp_path: Path
) -> None:
    before = with_objects(result)
    write_probability_tiff(before, tmp_path / "eye.tif")
    after = read_probability_tiff(tmp_path / "eye.tif")
    assert len(after.objects) == len(before.objects)
    for one, other in zip(before.objects, after.objects, strict=True):
        trim = trim_box(one)
        assert trim is not None
        assert (trim.lesion, trim.score, trim.row, trim.col) == (
            (other.lesion, other.score, other.row, other.col)
        )
        np.testing.assert_array_equal(trim.mask, other.mask)
    pd.testing.assert_frame_equal(before.instances, after.instances)
    lower = {"EX": 0.05}
    pd.testing.assert_frame_equal(
        before.threshold(lower).instances, after.threshold(lower).instances
    )


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("objects", [{"lesion": "EX"}]),
        ("objects", [packed("EX", 1, 0, (4, 4), "")]),
        ("objects", [packed("EX", 1, 0, (4, 4), "é")]),
        ("objects", [packed("EX", 1, 119, (4, 4), "0@")]),
        ("objects", [packed("EX", 9, 0, (4, 4), "0@")]),
        ("objects", [packed("HE", 1, 0, (4, 4), "0@")]),
        (
            "objects",
            [packed("EX", 1, 0, (120, 160), "0@")] * 65,
        ),
        ("thresholds", None),
        ("thresholds", {"MA": "high"}),
        ("thresholds", {"MA": 7}),
        ("min_area", 0),
        ("has_boxes", {}),
        ("given_landmarks", {"disc": 1}),
        ("image_score", {"referable": "x"}),
        ("pages", [{"kind": 3}]),
    ],
)
def test_a_damaged_description_is_refused(
    change: str, value: object, result: Detections, tmp_path: Path
) -> None:
    path = tmp_path / "eye.tif"
    write_probability_tiff(result, path)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tag = tiff.pages.first.tags["ImageDescription"]
        tag.overwrite(json.dumps({**json.loads(tag.value), change: value}))
    with pytest.raises(FundusError, match=r"is damaged|object of 'EX' has the score|no map"):
        read_probability_tiff(path)


def test_a_page_that_claims_to_be_huge_is_refused_before_decoding(
    result: Detections, tmp_path: Path
) -> None:
    path = tmp_path / "eye.tif"
    write_labels_tiff(result, path)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages.first.tags["ImageWidth"].overwrite(60_000)
        tiff.pages.first.tags["ImageLength"].overwrite(60_000)
    with pytest.raises(FundusError, match="shape"):
        read_labels_tiff(path)
