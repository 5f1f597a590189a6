"""COCO annotations: every form of outline, every layout, nothing outside the folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as reference

from napari_fundus.datasets import open_dataset, summarize
from napari_fundus.errors import DatasetError
from napari_fundus.export import write_coco
from napari_fundus.results.detections import Detections, Provenance

SHAPE = (64, 96)
CATEGORIES = [
    {"id": 1, "name": "Microaneurysms"},
    {"id": 2, "name": "Hard_Exudate", "supercategory": "bright"},
    {"id": 7, "name": "lesions"},
    {"id": 8, "name": "drusen"},
]
SQUARE = [10, 20, 16, 20, 16, 24, 10, 24]


def note(image: Any, category: Any, **more: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": image, "category_id": category, "iscrowd": 0, **more}


def write_json(path: Path, annotations: list[Any], *names: str, **more: Any) -> None:
    images = [{"id": n, "file_name": name} for n, name in enumerate(names, start=1)]
    content = {
        "images": images,
        "annotations": annotations,
        "categories": CATEGORIES,
        **more,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path, write_image: Any) -> Path:
    for seed, name in enumerate(("a.jpg", "b.jpg", "sub/c.png")):
        write_image(tmp_path / name, seed)
    return tmp_path


def test_known_classes_are_annotated_in_every_listed_image(folder: Path) -> None:
    write_json(folder / "notes.json", [note(1, 2, segmentation=[SQUARE])], "a.jpg", "b.jpg")

    data = open_dataset(folder)

    assert data.name == "coco"
    assert [s.id for s in data] == ["a", "b", "sub/c"]
    assert [sorted(s.annotated) for s in data] == [["EX", "MA"], ["EX", "MA"], []]
    assert data[0].mask("EX", SHAPE)[20:24, 10:16].all()
    assert data[0].mask("EX", SHAPE).sum() == 24
    assert not data[0].mask("MA", SHAPE).any()
    assert {p.path for p in data.problems} == {"sub/c.png"}
    assert {c.code: c.lesions for c in summarize(data).classes} == {"EX": 1, "MA": 0}


def test_a_class_that_is_no_known_lesion_is_annotated_where_it_occurs_in_a_file(
    folder: Path,
) -> None:
    write_json(folder / "n.json", [note(1, 8, segmentation=[SQUARE])], "a.jpg", "b.jpg")
    data = open_dataset(folder)
    assert data[1].annotated == {"MA", "EX", "drusen"}
    assert data[0].mask("drusen", SHAPE).sum() == 24


@pytest.mark.parametrize("compressed", [True, False])
def test_run_lengths_are_read_as_pycocotools_reads_them(folder: Path, compressed: bool) -> None:
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[3:9, 80:] = drawn[:, 40:43] = 1
    if compressed:
        runs = reference.encode(np.asfortranarray(drawn))
        runs["counts"] = runs["counts"].decode()
    else:
        flat = np.flatnonzero(np.diff(drawn.ravel(order="F"))) + 1
        counts = np.diff([0, *flat, drawn.size]).tolist()
        runs = {"size": list(SHAPE), "counts": counts}
    write_json(folder / "n.json", [note(1, 1, segmentation=runs)], "a.jpg")
    (sample, *_) = open_dataset(folder)
    np.testing.assert_array_equal(sample.mask("MA", SHAPE), drawn.astype(bool))


def test_polygons_cover_what_pycocotools_fills_but_for_their_edge(folder: Path) -> None:
    rng = np.random.default_rng(0)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 9))
    ring = np.stack([48 + 30 * np.cos(angle), 32 + 20 * np.sin(angle)], axis=1).ravel().tolist()
    write_json(folder / "n.json", [note(1, 1, segmentation=[ring])], "a.jpg")
    (sample, *_) = open_dataset(folder)
    mine = sample.mask("MA", SHAPE)
    theirs = reference.decode(reference.frPyObjects([ring], *SHAPE))[..., 0].astype(bool)
    assert (mine & theirs).sum() / (mine | theirs).sum() > 0.95


def test_lesions_stay_apart_where_they_touch_and_together_where_they_are_one(
    folder: Path,
) -> None:
    beside = [16, 20, 20, 20, 20, 24, 16, 24]
    far = [60, 40, 64, 40, 64, 44, 60, 44]
    write_json(
        folder / "n.json",
        [note(1, 2, segmentation=[SQUARE]), note(1, 2, segmentation=[beside, far])],
        "a.jpg",
    )
    (sample, *_) = open_dataset(folder)
    first, second = sample.objects("EX", SHAPE)
    assert (first.row, first.col, first.mask.sum()) == (20, 10, 24)
    assert (second.row, second.col, second.mask.shape, second.mask.sum()) == (20, 16, (24, 48), 32)
    assert sample.truths["EX"].count(SHAPE) == 2
    with pytest.raises(DatasetError, match="not annotated"):
        sample.objects("HE", SHAPE)


def test_a_box_without_outline_counts_whole_and_is_named(folder: Path) -> None:
    write_json(folder / "n.json", [note(1, 1, bbox=[10, 20, 6, 4], segmentation=[])], "a.jpg")
    data = open_dataset(folder)
    assert data[0].mask("MA", SHAPE)[20:24, 10:16].sum() == data[0].mask("MA", SHAPE).sum() == 24
    assert any("box and no outline" in p.message for p in data.problems)


@pytest.mark.parametrize(
    ("notes", "images"),
    [("annotations/instances_{}.json", "{}/eye.jpg"), ("{}/_annotations.coco.json", "{}/eye.jpg")],
)
def test_parts_of_a_set_find_their_own_images_of_the_same_name(
    tmp_path: Path, write_image: Any, notes: str, images: str
) -> None:
    for seed, part in enumerate(("train", "valid")):
        write_image(tmp_path / images.format(part), seed)
        write_json(
            tmp_path / notes.format(part),
            [note(1, 1, segmentation=[SQUARE])] * (seed + 1),
            "eye.jpg",
        )
    data = open_dataset(tmp_path)
    assert [(s.id, s.split, s.truths["MA"].count(SHAPE)) for s in data] == [
        ("train/eye", "train", 1),
        ("valid/eye", "valid", 2),
    ]
    assert data.problems == ()
    inside = open_dataset(tmp_path / "train")
    assert "train/eye" in {s.id for s in inside} or inside.root == tmp_path / "train"


@pytest.mark.parametrize(
    "name",
    ["../secret.jpg", "/etc/passwd", "..\\secret.jpg", "nowhere.jpg", "sub/../../secret.jpg"],
)
def test_names_never_lead_out_of_the_folder(tmp_path: Path, write_image: Any, name: str) -> None:
    write_image(tmp_path / "secret.jpg")
    write_image(tmp_path / "data" / "a.jpg", 1)
    write_json(tmp_path / "data" / "n.json", [note(1, 1, segmentation=[SQUARE])], name)
    data = open_dataset(tmp_path / "data")
    assert [s.image_path for s in data] == [tmp_path / "data" / "a.jpg"]
    assert data[0].annotated == frozenset()
    assert any("no such image" in p.message for p in data.problems)


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"segmentation": [[1, 2, 3]]}, "three points or more"),
        ({"segmentation": [["x", 2, 3, 4, 5, 6]]}, "no polygon of numbers"),
        ({"segmentation": {"counts": [1, 2]}}, "no size"),
        ({"segmentation": {"size": [64, 96], "counts": None}}, "no counts"),
        ({"bbox": [1, 2, 0, 4]}, "box is empty"),
        ({}, "no box of numbers"),
    ],
)
def test_what_cannot_be_understood_is_left_out_and_named(
    folder: Path, annotation: dict[str, Any], message: str
) -> None:
    sound = note(1, 1, segmentation=[SQUARE])
    write_json(folder / "n.json", [note(1, 1, **annotation), sound, 5], "a.jpg")
    data = open_dataset(folder)
    assert data[0].truths["MA"].count(SHAPE) == 1
    assert any(message in p.message for p in data.problems)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"images": [], "annotations": []}', "lacks the list categories"),
        ('{"images": [], "annotations": [', "cannot be read"),
        ('{"images": {}, "annotations": 3, "categories": []}', "lacks the list images, annot"),
    ],
)
def test_a_file_that_is_not_whole_says_what_to_do(folder: Path, content: str, message: str) -> None:
    (folder / "n.json").write_text(content)
    with pytest.raises(DatasetError, match=message) as caught:
        open_dataset(folder)
    assert "Export" in str(caught.value)


def test_annotations_of_another_size_are_refused_when_drawn(folder: Path) -> None:
    size = {"images": [{"id": 1, "file_name": "a.jpg", "height": 32, "width": 48}]}
    write_json(folder / "n.json", [note(1, 1, segmentation=[SQUARE])], **size)
    runs = {"size": [48, 32], "counts": [5, 2]}
    write_json(folder / "sub" / "ignored.json", [])
    with pytest.raises(DatasetError, match="48x32 px, and this one has 96x64"):
        open_dataset(folder)[0].mask("MA", SHAPE)
    write_json(folder / "n.json", [note(1, 1, segmentation=runs)], "a.jpg")
    with pytest.raises(DatasetError, match="resized or turned"):
        open_dataset(folder)[0].mask("MA", SHAPE)
    runs = {"size": list(SHAPE), "counts": [5, -2]}
    write_json(folder / "n.json", [note(1, 1, segmentation=runs)], "a.jpg")
    with pytest.raises(DatasetError, match="negative"):
        open_dataset(folder)[0].mask("MA", SHAPE)


def test_other_json_files_are_not_taken_for_annotations(folder: Path) -> None:
    (folder / "package.json").write_text('{"name": "x", "images": 3}')
    (folder / "list.json").write_text('["images", "annotations", "categories"]')
    assert open_dataset(folder).name == "folder"


@pytest.fixture
def exported(tmp_path: Path, draw: Any) -> tuple[Path, Detections]:
    """A photograph, and beside it what was found in it as COCO."""
    retina = draw(120, 160)
    Image.fromarray(retina.pixels).save(tmp_path / "eye.png")
    result = Detections(
        Provenance(
            detector="d",
            detector_version="1",
            package_version="0",
            image_name="eye",
            image_path=str(tmp_path / "eye.png"),
            image_shape=(120, 160),
        ),
        {code: mask.astype(np.float32) for code, mask in retina.masks.items()},
        dict.fromkeys(retina.masks, 0.5),
    )
    write_coco(result, tmp_path / "eye.coco.json")
    return tmp_path, result


def test_what_was_exported_is_read_back_with_the_same_masks(exported: Any) -> None:
    folder, result = exported
    (sample,) = open_dataset(folder, "coco")
    assert sample.annotated == set(result.lesions)
    for code, labels in result.labels.items():
        np.testing.assert_array_equal(sample.mask(code, result.shape), labels > 0)
        objects = sample.objects(code, result.shape)
        assert len(objects) == len(np.unique(labels)) - 1
        for item in objects:
            (number,) = np.unique(labels[item.window][item.mask])
            assert item.mask.sum() == (labels == number).sum()


def test_what_a_detector_found_is_never_taken_for_truth_unasked(exported: Any) -> None:
    folder, _ = exported
    (sample,) = open_dataset(folder)
    assert sample.annotated == frozenset()
    (problem,) = open_dataset(folder, "coco").problems
    assert "no expert drew this" in problem.message
