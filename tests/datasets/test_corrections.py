"""Corrections as a data set: what was reviewed comes back, and the source is only read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_fundus.datasets import LesionVerdict, open_dataset, write_correction
from napari_fundus.datasets.corrections import CORRECTIONS_MARKER, Corrections, read_correction
from napari_fundus.errors import DatasetError, OutputExistsError
from napari_fundus.image import FundusImage, read_image
from napari_fundus.results.detections import Provenance
from napari_fundus.runtime.files import write_json

SHAPE = (64, 96)


@pytest.fixture
def image(tmp_path: Path, write_image) -> FundusImage:
    return read_image(write_image(tmp_path / "source" / "eye.jpg"))


def labels(*places: tuple[int, int], first: int = 1) -> np.ndarray:
    array = np.zeros(SHAPE, np.uint16)
    for number, (row, col) in enumerate(places):
        array[row : row + 3, col : col + 4] = first + number
    return array


def half() -> np.ndarray:
    region = np.zeros(SHAPE, np.bool_)
    region[:, :48] = True
    return region


def digest_of(folder: Path) -> str:
    content = b"".join(p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file())
    return hashlib.sha256(content).hexdigest()


def test_what_was_written_is_read_again(tmp_path, image) -> None:
    before = digest_of(tmp_path / "source")
    told = Provenance(detector="tophat", detector_version="1", package_version="0")
    said = LesionVerdict(id=7, lesion="MA", verdict="drawn")
    drawn = {"MA": labels((3, 4), (40, 80), first=7), "HE": labels((20, 20))}
    place = write_correction(
        tmp_path / "corrections",
        image=image,
        labels=drawn,
        reviewed=["MA", "HE", "EX"],
        provenance=told,
        verdicts=[said],
    )

    data = open_dataset(tmp_path / "corrections")
    (sample,) = data
    assert data.name == "corrections"
    assert not data.problems
    assert sample.annotated == {"MA", "HE", "EX"}
    assert set(sample.truths) == {"MA", "HE"}  # looked for and not found
    for code in ("MA", "HE"):
        np.testing.assert_array_equal(sample.mask(code, SHAPE), drawn[code] > 0)
        np.testing.assert_array_equal(np.asarray(Image.open(sample.truths[code].path)), drawn[code])
    assert not sample.mask("EX", SHAPE).any()
    assert sample.region(SHAPE) is None
    assert sample.image().sha256 == image.sha256
    record = read_correction(place)
    assert record.classes["MA"].verdicts == (said,)
    assert record.classes["HE"].verdicts == ()
    assert record.classes["MA"].provenance["detector"] == "tophat"
    assert record.image.path == str(image.path)
    assert digest_of(tmp_path / "source") == before


def test_the_copy_does_without_the_source(tmp_path, image) -> None:
    place = write_correction(tmp_path / "c", image=image, labels={}, reviewed=["MA"])
    assert (place / "image.jpg").read_bytes() == image.path.read_bytes()
    image.path.unlink()
    (sample,) = open_dataset(tmp_path / "c")
    assert sample.image().sha256 == image.sha256


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_that_are_no_file_s_are_kept_without_loss(tmp_path, write_image, dtype) -> None:
    path = write_image(tmp_path / "eye.png")
    pixels = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, (*SHAPE, 3), dtype)
    image = FundusImage.from_array(pixels, name="left / eye", path=path)
    place = write_correction(tmp_path / "c", image=image, labels={}, reviewed=["MA"])
    assert place.name.startswith("left_eye-")
    (sample,) = open_dataset(place)
    assert sample.image().sha256 == image.sha256


def test_a_field_of_view_comes_along(tmp_path) -> None:
    disc = half()
    pixels = np.zeros((*SHAPE, 3), np.uint8)
    image = FundusImage.from_array(pixels, field_of_view=disc)
    write_correction(tmp_path / "c", image=image, labels={}, reviewed=["MA"])
    (sample,) = open_dataset(tmp_path / "c")
    np.testing.assert_array_equal(sample.image().given_field_of_view, disc)


def test_labels_outside_the_region_are_left_out(tmp_path, image) -> None:
    drawn = labels((3, 4), (10, 46), (40, 80))
    write_correction(
        tmp_path / "c", image=image, labels={"MA": drawn}, reviewed=["MA"], region=half()
    )
    (sample,) = open_dataset(tmp_path / "c")
    np.testing.assert_array_equal(sample.region(SHAPE), half())
    np.testing.assert_array_equal(sample.mask("MA", SHAPE), (drawn > 0) & half())
    assert sample.truths["MA"].count(SHAPE) == 2


def test_only_what_was_reviewed_is_written(tmp_path, image) -> None:
    drawn = {"MA": labels((3, 4)), "HE": labels((20, 20))}
    write_correction(tmp_path / "c", image=image, labels=drawn, reviewed=["HE"])
    (sample,) = open_dataset(tmp_path / "c")
    assert sample.annotated == {"HE"}
    with pytest.raises(DatasetError, match="not annotated"):
        sample.mask("MA", SHAPE)


def test_a_later_review_replaces_its_classes_and_leaves_the_others(tmp_path, image) -> None:
    folder = tmp_path / "c"
    first = {"MA": labels((3, 4)), "HE": labels((20, 20))}
    write_correction(folder, image=image, labels=first, reviewed=["MA", "HE"])
    with pytest.raises(OutputExistsError, match="HE of eye"):
        write_correction(folder, image=image, labels={}, reviewed=["HE", "EX"])
    again = {"HE": labels((50, 50)), "EX": labels((5, 50))}
    place = write_correction(
        folder, image=image, labels=again, reviewed=["HE", "EX"], overwrite=True
    )
    (sample,) = open_dataset(folder)
    assert sample.annotated == {"MA", "HE", "EX"}
    for code, expected in {**first, **again}.items():
        np.testing.assert_array_equal(sample.mask(code, SHAPE), expected > 0)
    assert len(list(place.glob("*.tif"))) == 3


def test_classes_reviewed_in_different_regions_are_samples_of_one_group(tmp_path, image) -> None:
    folder = tmp_path / "c"
    write_correction(folder, image=image, labels={}, reviewed=["MA", "HE"])
    write_correction(folder, image=image, labels={}, reviewed=["EX"], region=half())
    data = open_dataset(folder)
    found = {sample.annotated: sample.region(SHAPE) for sample in data}
    assert found[frozenset({"MA", "HE"})] is None
    np.testing.assert_array_equal(found[frozenset({"EX"})], half())
    assert len({sample.group for sample in data}) == 1
    assert len({sample.id for sample in data}) == 2


def test_a_mask_s_components_become_lesions(tmp_path, image) -> None:
    mask = labels((3, 4), (40, 80)) > 0
    place = write_correction(tmp_path / "c", image=image, labels={"MA": mask}, reviewed=["MA"])
    assert read_correction(place).classes["MA"].lesions == 2


def test_more_ids_than_16_bits_hold_are_kept(tmp_path, image) -> None:
    drawn = labels((3, 4)).astype(np.int32) * 70_001
    write_correction(tmp_path / "c", image=image, labels={"MA": drawn}, reviewed=["MA"])
    (sample,) = open_dataset(tmp_path / "c")
    np.testing.assert_array_equal(np.asarray(Image.open(sample.truths["MA"].path)), drawn)
    np.testing.assert_array_equal(sample.mask("MA", SHAPE), drawn > 0)


def test_a_folder_with_other_files_is_refused_untouched(tmp_path, image) -> None:
    before = digest_of(tmp_path / "source")
    with pytest.raises(DatasetError, match="holds other files"):
        write_correction(tmp_path / "source", image=image, labels={}, reviewed=["MA"])
    assert digest_of(tmp_path / "source") == before
    assert len(list((tmp_path / "source").iterdir())) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": {"MA": np.zeros((4, 4), np.uint8)}}, "MA has shape"),
        ({"region": np.ones((4, 4), np.bool_)}, "region has shape"),
        ({"reviewed": []}, "which classes"),
        ({"labels": {"MA": np.zeros(SHAPE)}}, "whole numbers"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, image, change, message) -> None:
    given = {"labels": {}, "reviewed": ["MA"], **change}
    with pytest.raises(DatasetError, match=message):
        write_correction(tmp_path / "c", image=image, **given)


def test_a_save_that_fails_leaves_the_earlier_one(tmp_path, image, monkeypatch) -> None:
    folder, drawn = tmp_path / "c", labels((3, 4))
    write_correction(folder, image=image, labels={"MA": drawn}, reviewed=["MA"])

    def fail(path, content, **options):
        raise OSError("no space left")

    monkeypatch.setattr("napari_fundus.datasets.corrections.write_json", fail)
    with pytest.raises(OSError, match="no space"):
        write_correction(folder, image=image, labels={}, reviewed=["MA"], overwrite=True)
    (sample,) = open_dataset(folder)
    np.testing.assert_array_equal(sample.mask("MA", SHAPE), drawn > 0)


def test_damaged_and_later_records_are_problems_not_failures(tmp_path, image, write_image) -> None:
    folder = tmp_path / "c"
    other = read_image(write_image(tmp_path / "source" / "other.png", seed=3))
    third = read_image(write_image(tmp_path / "source" / "third.png", seed=4))
    write_correction(folder, image=image, labels={}, reviewed=["MA"])
    broken = write_correction(folder, image=other, labels={}, reviewed=["MA"])
    later = write_correction(folder, image=third, labels={}, reviewed=["MA"])
    (broken / "correction.json").write_text("{")
    record = json.loads((later / "correction.json").read_text())
    write_json(later / "correction.json", {**record, "schema_version": 99}, overwrite=True)
    data = open_dataset(folder)
    assert [sample.id.partition("-")[0] for sample in data] == ["eye"]
    assert sorted(p.path for p in data.problems) == sorted([broken.name, later.name])
    assert any("version 99" in problem.message for problem in data.problems)


def test_a_missing_mask_leaves_the_image_out(tmp_path, image) -> None:
    place = write_correction(tmp_path / "c", image=image, labels={}, reviewed=["MA"])
    (mask,) = place.glob("*.tif")
    mask.unlink()
    data = open_dataset(tmp_path / "c")
    assert len(data) == 0
    assert mask.name in data.problems[0].path
    assert (tmp_path / "c" / CORRECTIONS_MARKER).is_file()


@pytest.mark.parametrize("field", ["file", "field_of_view", "mask", "region"])
@pytest.mark.parametrize("name", ["../outside.png", "/etc/hostname", "..", "a/b.png", "C:x.png"])
def test_a_record_cannot_lead_out_of_its_folder(tmp_path, image, field: str, name: str) -> None:
    root = tmp_path / "corrections"
    place = write_correction(root, image=image, labels={}, reviewed=["MA"])
    (root / "outside.png").write_bytes(next(place.glob("image.*")).read_bytes())
    record = json.loads((place / "correction.json").read_text())
    holder = record["image"] if field in record["image"] else record["classes"]["MA"]
    holder[field] = name
    (place / "correction.json").write_text(json.dumps(record))
    opened = Corrections.open(root)
    assert len(opened) == 0
    assert any("correction.json is damaged" in problem.message for problem in opened.problems)
