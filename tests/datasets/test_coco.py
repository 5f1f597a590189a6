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


@pytest.mark.parametrize("counts", [[5, -2], [6145], [0, 6145], "'", "0", "", "b'05'"])
def test_run_lengths_that_are_none_cost_no_other_lesion(folder: Path, counts: Any) -> None:
    runs = {"size": list(SHAPE), "counts": counts}
    drawn = [note(1, 1, segmentation=runs), note(1, 1, segmentation=[SQUARE])]
    write_json(folder / "n.json", drawn, "a.jpg")
    data = open_dataset(folder)
    assert data[0].mask("MA", SHAPE).sum() == 24
    assert any("left out: its run lengths" in p.message for p in data.problems)
    drawn = [note(1, 1, segmentation=runs, bbox=[50, 20, 6, 4]), note(1, 2, segmentation=runs)]
    write_json(folder / "n.json", drawn, "a.jpg")
    data = open_dataset(folder)
    assert data[0].mask("MA", SHAPE).sum() == 24
    assert data[0].annotated == {"MA"}


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


@pytest.mark.parametrize("write", [int, float, str, lambda n: f"{n}.0", lambda n: f" {n} "])
@pytest.mark.parametrize("read", [int, float, str])
def test_ids_are_the_same_however_they_are_written(folder: Path, write: Any, read: Any) -> None:
    more = {
        "images": [{"id": write(n), "file_name": f"{x}.jpg"} for n, x in enumerate("ab", start=1)],
        "categories": [{"id": write(n), "name": code} for n, code in ((1, "MA"), (10, "EX"))],
    }
    drawn = [note(read(i), read(c), segmentation=[SQUARE]) for i, c in ((1, 10), (2, 1))]
    write_json(folder / "n.json", drawn, **more)
    data = open_dataset(folder)
    assert [set(s.truths) for s in data] == [{"EX"}, {"MA"}, set()]
    assert [p.path for p in data.problems] == ["sub/c.png"]


LARGE = 2**53


@pytest.mark.parametrize(
    ("ids", "asked", "want"),
    [
        ((LARGE, LARGE + 1), (LARGE, LARGE + 1), ["a", "b"]),
        ((LARGE, LARGE + 1), (LARGE + 1, LARGE + 1), ["b", "b"]),
        ((str(LARGE), f"{LARGE + 1}.0"), (LARGE, LARGE + 1), ["a", "b"]),
        ((LARGE, 7), (float(LARGE), 7.0), ["a", "b"]),
        ((LARGE, LARGE + 1), (float(LARGE), float(LARGE)), []),
        ((float(LARGE), 3), (LARGE + 1, 3), ["a", "b"]),
        ((LARGE, 3), (LARGE + 1, 3), ["b"]),
        (("007", "010"), (7, 10), ["a", "b"]),
        (("007", "7"), ("007", 7), ["a", "b"]),
        ((10**400, 3), (10**400, 3), ["a", "b"]),
        ((1.5, float("nan")), (1.5, float("nan")), ["a"]),
        ((True, None), (True, None), []),
        ((3, 3.0), (3, 3), []),
    ],
)
def test_ids_are_exact_or_the_annotation_is_left_out_and_named(
    folder: Path, ids: Any, asked: Any, want: list[str]
) -> None:
    images = [{"id": n, "file_name": f"{x}.jpg"} for n, x in zip(ids, "ab", strict=True)]
    drawn = [note(n, 1, segmentation=[SQUARE]) for n in asked]
    write_json(folder / "n.json", drawn, images=images)
    data = open_dataset(folder)
    found = [s.id for s in data if s.truths for _ in s.objects("MA", SHAPE)]
    assert found == want
    left_out = [p.message for p in data.problems if "of no image" in p.message]
    assert len(left_out) == (len(want) < 2)


def test_a_category_id_of_two_classes_is_used_for_neither(folder: Path) -> None:
    categories = [{"id": 1, "name": "MA"}, {"id": 1.0, "name": "EX"}, {"id": 2, "name": "lesion"}]
    drawn = [note(1, n, segmentation=[SQUARE]) for n in (1, 2, 3)]
    write_json(folder / "n.json", drawn, "a.jpg", categories=categories)
    data = open_dataset(folder)
    assert data[0].truths == {}
    messages = " ".join(p.message for p in data.problems)
    assert "'1' stands for several classes" in messages
    assert "2 times: an annotation is of no category" in messages
    assert "names no class; left out (a.jpg)" in messages


EMPTY_BOX = [10, 20, 0, 0]
POINT, LINE, BROKEN = [12, 21] * 3, [10, 21, 12, 21, 14, 21], [1, 2, 3]


@pytest.mark.parametrize(
    ("rings", "box", "area", "message"),
    [
        ([SQUARE, [5, 5, 6, 6]], EMPTY_BOX, 24, "rings of an annotation that enclose nothing"),
        ([[], SQUARE], None, 24, "rings of an annotation that enclose nothing"),
        ([SQUARE, LINE], None, 24, "rings of an annotation that enclose nothing"),
        ([SQUARE, ["x"] * 6], None, 24, "rings of an annotation that enclose nothing"),
        ([SQUARE, 5, None], None, 24, "rings of an annotation that enclose nothing"),
        ([[]], [10, 20, 6, 4], 24, "box and no outline"),
        (None, [10, 20, 6, 4], 24, "box and no outline"),
        ("MA", [10, 20, 6, 4], 24, "box and no outline"),
        ([[10, 20, 12, 22]], ["10", "20", "6", "4.0"], 24, "an outline of nothing: the whole box"),
        ([LINE, BROKEN], [10, 20, 6, 4], 24, "an outline of nothing: the whole box"),
        ([POINT], [10, 20, 6, 4], 24, "an outline of nothing: the whole box"),
        ({"counts": [6144], "size": [64, 96]}, [10, 20, 6, 4], 24, "an outline of nothing"),
        ({"counts": "x", "size": "large"}, [10, 20, 6, 4], 24, "an outline of nothing"),
        ([POINT], EMPTY_BOX, 1, None),
        (SQUARE, None, 24, None),
    ],
)
def test_the_sound_ring_counts_else_the_box_and_the_rest_is_named(
    folder: Path, rings: Any, box: Any, area: int, message: str | None
) -> None:
    write_json(folder / "n.json", [note(1, 1, segmentation=rings, bbox=box)], "a.jpg")
    data = open_dataset(folder)
    assert data[0].mask("MA", SHAPE).sum() == area
    said = [p.message for p in data.problems if p.path == "n.json"]
    assert len(said) == (message is not None)
    assert all(message in text and "a.jpg" in text for text in said if message)


def test_a_ring_that_crosses_itself_encloses_something(folder: Path) -> None:
    bow = [10, 20, 20, 30, 20, 20, 10, 30]
    write_json(folder / "n.json", [note(1, 1, segmentation=[bow])], "a.jpg")
    assert open_dataset(folder)[0].mask("MA", SHAPE).sum() > 40


@pytest.mark.parametrize("number", [int, float, str])
def test_run_lengths_and_sizes_are_read_as_numbers_or_text(folder: Path, number: Any) -> None:
    size = [number(n) for n in SHAPE]
    runs = {"size": size, "counts": [number(n) for n in (5, 3, 64 * 96 - 8)]}
    images = [{"id": 1, "file_name": "a.jpg", "height": size[0], "width": size[1]}]
    write_json(folder / "n.json", [note(1, 1, segmentation=runs)], images=images)
    assert open_dataset(folder)[0].mask("MA", SHAPE).sum() == 3
    images[0]["height"] = number(32)
    write_json(folder / "n.json", [note(1, 1, segmentation=[SQUARE])], images=images)
    with pytest.raises(DatasetError, match="96x32 px, and this one has 96x64"):
        open_dataset(folder)[0].mask("MA", SHAPE)


@pytest.mark.parametrize("crowd", [1, 1.0, "1", True])
def test_a_crowd_is_read_and_named(folder: Path, crowd: Any) -> None:
    runs = {"size": list(SHAPE), "counts": [0, 4, 60, 4]}
    write_json(folder / "n.json", [note(1, 1, segmentation=runs) | {"iscrowd": crowd}], "a.jpg")
    data = open_dataset(folder)
    assert data[0].mask("MA", SHAPE).sum() == 8
    assert any("crowd of lesions: it counts as one" in p.message for p in data.problems)


def test_a_bare_name_of_two_images_is_lost_and_named(folder: Path, write_image: Any) -> None:
    for seed, side in enumerate(("left", "right")):
        write_image(folder / side / "d.png", seed)
    drawn = [note(n, 1, segmentation=[SQUARE]) for n in (1, 2)]
    write_json(folder / "n.json", drawn, "d.png", "https://host/eyes/right/d.png")
    data = open_dataset(folder)
    assert [s.id for s in data if s.truths] == ["right/d"]
    assert any(p.path == "n.json: d.png" for p in data.problems)


def test_an_image_that_is_listed_twice_is_named(folder: Path) -> None:
    drawn = [note(n, 1, segmentation=[SQUARE]) for n in (1, 2)]
    write_json(folder / "n.json", drawn, "a.jpg", "a.jpg")
    data = open_dataset(folder)
    assert len(data[0].objects("MA", SHAPE)) == 2
    assert [p.path for p in data.problems if "several times" in p.message] == ["a.jpg"]


def test_files_of_annotations_lie_anywhere_and_what_stands_in_two_counts_once(
    folder: Path,
) -> None:
    beside = [16, 20, 20, 20, 20, 24, 16, 24]
    write_json(folder / "n.json", [note(1, 1, segmentation=[SQUARE])], "a.jpg")
    more = [note(1, 1, segmentation=[SQUARE]), note(1, 1, segmentation=[beside])]
    write_json(folder / "deep" / "er" / "copy.json", more, "a.jpg")
    data = open_dataset(folder)
    assert len(data[0].objects("MA", SHAPE)) == 2
    (problem,) = [p for p in data.problems if "differ in it" in p.message]
    assert problem.path == "a.jpg"
    assert "deep/er/copy.json, n.json" in problem.message


def test_one_broken_file_of_two_is_named_and_the_other_read(folder: Path) -> None:
    write_json(folder / "n.json", [note(1, 1, segmentation=[SQUARE])], "a.jpg")
    (folder / "broken.json").write_text('{"images": [], "annotations": [')
    data = open_dataset(folder)
    assert data[0].mask("MA", SHAPE).sum() == 24
    assert any(p.path == "broken.json" and "left out" in p.message for p in data.problems)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_json_of_windows_programs_is_read(folder: Path, encoding: str) -> None:
    write_json(folder / "n.json", [note(1, 9, segmentation=[SQUARE])], "a.jpg")
    content = json.loads((folder / "n.json").read_text())
    content["categories"].append({"id": 9, "name": "Fläche"})
    (folder / "n.json").write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    assert set(open_dataset(folder)[0].truths) == {"Fläche"}


def test_a_photograph_of_two_parts_is_named(folder: Path) -> None:
    for part in ("train", "val"):
        write_json(folder / f"instances_{part}.json", [], "a.jpg")
    data = open_dataset(folder)
    assert data[0].split == "train"
    assert any(p.path == "a.jpg" and "valid part too" in p.message for p in data.problems)
