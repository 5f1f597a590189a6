"""Exports and projects of the VGG Image Annotator, harmless and hostile."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from napari_fundus.datasets import open_dataset, summarize
from napari_fundus.datasets.via_region import parse_region
from napari_fundus.errors import DatasetError

SHAPE = (64, 96)
COLUMNS = (
    "filename",
    "file_size",
    "file_attributes",
    "region_count",
    "region_id",
    "region_shape_attributes",
    "region_attributes",
)
RECT = {"name": "rect", "x": 10, "y": 20, "width": 6, "height": 4}


def row(name: str, shape: Any = None, attributes: Any = None) -> list[str]:
    cells = [shape or {}, attributes or {}]
    texts = [cell if isinstance(cell, str) else json.dumps(cell) for cell in cells]
    return [name, "1000", "{}", "1", "0", *texts]


@pytest.fixture
def via(tmp_path: Path, write_image: Any) -> Path:
    for name in ("a.jpg", "b.jpg", "sub/c.png"):
        write_image(tmp_path / name)
    return tmp_path


def write_table(folder: Path, *rows: list[str]) -> None:
    with (folder / "via_region_data.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


def test_classes_drawn_anywhere_are_annotated_in_every_listed_image(via: Path) -> None:
    write_table(
        via,
        row("a.jpg", RECT, {"Abnormality": "Exudate"}),
        row(
            "a.jpg", {"name": "circle", "cx": 50, "cy": 30, "r": 5}, {"Abnormality": "Haemorrhage"}
        ),
        row("b.jpg"),
        row("c.png", {"name": "point", "cx": 5, "cy": 6}, {"Abnormality": "MA"}),
    )

    data = open_dataset(via)

    assert data.name == "via"
    assert data.problems == ()
    assert [s.id for s in data] == ["a", "b", "sub/c"]
    assert {s.annotated for s in data} == {frozenset({"EX", "HE", "MA"})}
    assert data[0].mask("EX", SHAPE)[20:24, 10:16].all()
    assert data[0].mask("EX", SHAPE).sum() == 24
    assert data[0].mask("HE", SHAPE).sum() == 81
    assert not data[1].mask("EX", SHAPE).any()
    assert data[2].mask("MA", SHAPE).sum() == 1


def test_images_not_listed_are_not_annotated_and_named(via: Path) -> None:
    write_table(via, row("a.jpg", RECT, {"class": "EX"}))

    data = open_dataset(via)

    assert data[1].annotated == frozenset()
    assert {p.path for p in data.problems} == {"b.jpg", "sub/c.png"}


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        (RECT, 24),
        ({"name": "circle", "cx": 40, "cy": 30, "r": 10.0}, math.pi * 100),
        ({"name": "ellipse", "cx": 40, "cy": 30, "rx": 20, "ry": 5}, math.pi * 100),
        (
            {"name": "polygon", "all_points_x": [10, 40, 40, 10], "all_points_y": [5, 5, 25, 25]},
            31 * 21,
        ),
        ({"name": "polyline", "all_points_x": [10, 40], "all_points_y": [5, 5]}, 31),
        ({"name": "point", "cx": 3, "cy": 4}, 1),
    ],
)
def test_each_kind_of_shape_covers_its_area(shape: dict[str, Any], area: float) -> None:
    from napari_fundus.datasets.shapes import rasterize

    region = parse_region(shape)

    assert region is not None
    assert rasterize([region], SHAPE).sum() == pytest.approx(area, rel=0.05)


def test_theta_turns_clockwise_on_the_screen() -> None:
    """VIA's canvas has rows that grow downwards: a positive angle leads down to the right."""
    from napari_fundus.datasets.shapes import Ellipse

    turned = parse_region(
        {"name": "ellipse", "cx": 40, "cy": 30, "rx": 20, "ry": 3, "theta": math.pi / 6}
    )

    assert isinstance(turned, Ellipse)
    assert turned.contains(40 + 13, 30 + 8)
    assert not turned.contains(40 + 13, 30 - 8)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "..\\..\\secret.jpg",
        "sub/../../outside.jpg",
        "../outside.jpg",
        "C:\\outside.jpg",
        "https://example.org/outside.jpg",
    ],
)
def test_names_that_point_outside_the_folder_are_never_followed(
    tmp_path: Path, write_image: Any, name: str
) -> None:
    folder = tmp_path / "inner" / "data"
    write_image(folder / "a.jpg")
    for outside in (tmp_path / "inner" / "outside.jpg", tmp_path / "secret.jpg"):
        write_image(outside)
    write_table(folder, row("a.jpg", RECT, {"class": "EX"}), row(name, RECT, {"class": "EX"}))

    data = open_dataset(folder)

    assert [s.image_path for s in data] == [folder / "a.jpg"]
    assert [p.path for p in data.problems] == [f"via_region_data.csv: {name}"]


def test_attribute_of_the_class_can_be_named(via: Path) -> None:
    attributes = {"Abnormality": "EX", "Reader": "blood"}
    write_table(via, row("a.jpg", RECT, attributes))

    assert set(open_dataset(via, class_attribute="abnormality")[0].truths) == {"EX"}
    assert set(open_dataset(via, class_attribute="Reader")[0].truths) == {"HE"}
    with pytest.raises(DatasetError, match=r"no region.*Grade|Grade.*Abnormality, Reader"):
        open_dataset(via, class_attribute="Grade")


def test_attribute_of_the_class_is_guessed_by_known_lesions(via: Path) -> None:
    rows = [
        row("a.jpg", RECT, {"comment": "look here", "lesion": "cotton wool spot"}),
        row("b.jpg", RECT, {"comment": "hm", "lesion": "hard exudates"}),
    ]
    write_table(via, *rows)

    assert set(open_dataset(via)[0].truths) == {"SE"}


def test_check_boxes_give_several_classes_and_strangers_keep_their_name(via: Path) -> None:
    write_table(
        via,
        row("a.jpg", RECT, {"type": {"EX": True, "HE": False, "MA": True}}),
        row("b.jpg", RECT, {"type": "drusen"}),
    )

    data = open_dataset(via)

    assert set(data[0].truths) == {"EX", "MA"}
    assert set(data[1].truths) == {"drusen"}


@pytest.mark.parametrize(
    ("shape", "attributes", "message"),
    [
        ("{not json", {"class": "EX"}, "not JSON"),
        ("[1, 2]", {"class": "EX"}, "not a JSON object"),
        ({"name": "star"}, {"class": "EX"}, "'star' are not known"),
        ({"name": "rect", "x": 1}, {"class": "EX"}, "without the number 'y'"),
        ({"name": "circle", "cx": "NaN", "cy": 1, "r": 1}, {"class": "EX"}, "number 'cx'"),
        ({"name": "polygon", "all_points_x": [1]}, {"class": "EX"}, "all_points_y"),
        (
            {"name": "polygon", "all_points_x": [1, 2], "all_points_y": [1]},
            {"class": "EX"},
            "not pairs",
        ),
        (RECT, {"other": "1"}, "no class"),
    ],
)
def test_bad_row_is_named_and_the_others_are_read(
    via: Path, shape: Any, attributes: Any, message: str
) -> None:
    write_table(via, row("a.jpg", RECT, {"class": "EX"}), row("b.jpg", shape, attributes))

    data = open_dataset(via)

    assert data[0].mask("EX", SHAPE).any()
    assert any(message in p.message and "via_region_data" in p.path for p in data.problems)


def test_region_outside_the_image_is_reported(via: Path) -> None:
    write_table(via, row("a.jpg", {**RECT, "x": 5000}, {"class": "EX"}))

    report = summarize(open_dataset(via))

    assert report.classes[0].lesions == 0
    assert any("outside the image" in p.message for p in report.problems)


def test_regions_without_any_attribute_are_lesions(via: Path) -> None:
    write_table(via, row("a.jpg", RECT))

    assert open_dataset(via)[0].mask("lesion", SHAPE).sum() == 24


def test_regions_are_lesions_of_their_own_even_where_they_touch(via: Path) -> None:
    beside = {
        "name": "polygon",
        "all_points_x": [16, 19, 19, 16],
        "all_points_y": [20, 20, 23, 23],
    }
    outside = {"name": "circle", "cx": 500, "cy": 500, "r": 3}
    drawn = [row("a.jpg", shape, {"class": "EX"}) for shape in (RECT, beside, outside)]
    write_table(via, *drawn, row("a.jpg", {"name": "point", "cx": 1, "cy": 2}, {"class": "MA"}))

    (sample, *_) = open_dataset(via)

    first, second = sample.objects("EX", SHAPE)
    assert (first.row, first.col, first.mask.shape) == (20, 10, (4, 6))
    assert (second.row, second.col, second.mask.shape) == (20, 16, (4, 4))
    assert first.mask.all()
    assert second.mask.all()
    (point,) = sample.objects("MA", SHAPE)
    assert (point.row, point.col, point.mask.tolist()) == (2, 1, [[True]])


def as_images(regions: Any, name: str = "a.jpg") -> dict[str, Any]:
    entry = {"filename": name, "size": 1000, "regions": regions, "file_attributes": {}}
    return {f"{name}1000": entry}


def as_project(images: Any) -> dict[str, Any]:
    return {"_via_settings": {}, "_via_img_metadata": images, "_via_attributes": {}}


def region(shape: Any, attributes: Any) -> dict[str, Any]:
    return {"shape_attributes": shape, "region_attributes": attributes}


@pytest.mark.parametrize("form", ["project", "export", "version 1"])
def test_json_says_the_same_as_a_table(via: Path, form: str) -> None:
    drawn = [region(RECT, {"class": "EX"}), region({"name": "star"}, {"class": "EX"})]
    images = as_images(dict(enumerate(drawn)) if form == "version 1" else drawn)
    images |= as_images([], "b.jpg")
    content = as_project(images) if form == "project" else images
    (via / "via.json").write_text(json.dumps(content))

    data = open_dataset(via)

    assert data.name == "via"
    assert data[0].mask("EX", SHAPE).sum() == 24
    assert [s.annotated for s in data] == [{"EX"}, {"EX"}, frozenset()]
    assert [(p.path, p.message) for p in data.problems] == [
        ("via.json", "Region 2 (a.jpg): shapes of the kind 'star' are not known."),
        ("sub/c.png", "Not in the annotations: nothing is annotated in it."),
    ]


def test_project_beside_its_own_export_counts_each_region_once(via: Path) -> None:
    twice = region(RECT, {"class": "EX"})
    later = region({**RECT, "x": 40}, {"class": "EX"})
    (via / "via_project.json").write_text(json.dumps(as_project(as_images([twice, later]))))
    write_table(via, row("a.jpg", RECT, {"class": "EX"}))

    assert len(open_dataset(via)[0].objects("EX", SHAPE)) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"_via_img_metadata": {"a": ', "Export it again"),
        (b'{"_via_img_metadata": [1, 2]}', "no file of the VGG Image Annotator"),
    ],
)
def test_broken_project_says_what_is_wrong(via: Path, content: bytes, message: str) -> None:
    (via / "via_project.json").write_bytes(content)

    with pytest.raises(DatasetError, match=message):
        open_dataset(via)


@pytest.mark.parametrize("odd", [None, 3, [3], ["x"], {"0": None}, [{"shape_attributes": [1]}]])
def test_regions_that_are_none_do_no_harm(via: Path, odd: Any) -> None:
    images = as_images([region(RECT, {"class": "EX"})]) | as_images(odd, "b.jpg")
    images |= {"strange": 5, "nameless": {"filename": 7}}
    (via / "via.json").write_text(json.dumps(as_project(images)))

    data = open_dataset(via)

    assert data[0].mask("EX", SHAPE).sum() == 24
    assert not data[1].mask("EX", SHAPE).any()


@pytest.mark.parametrize("name", [r"C:\eyes\a.jpg", "/data/a.jpg", "https://host/x/a.jpg"])
def test_a_name_of_another_machine_is_the_one_photograph_of_its_bare_name(
    via: Path, name: str
) -> None:
    write_table(via, row(name, RECT, {"class": "EX"}))
    assert open_dataset(via)[0].mask("EX", SHAPE).sum() == 24


def test_one_bare_name_of_two_photographs_is_told_apart_by_its_bytes_or_lost(
    tmp_path: Path, write_image: Any
) -> None:
    places = [write_image(tmp_path / side / "a.png", seed) for seed, side in enumerate("lr")]
    places[1].write_bytes(places[1].read_bytes() + b"\0")
    entries = {
        str(n): {**as_images([region(RECT, {"class": code})])["a.jpg1000"], "filename": "a.png"}
        | {"size": size}
        for n, (code, size) in enumerate(
            (("EX", places[0].stat().st_size), ("MA", str(places[1].stat().st_size)), ("HE", -1))
        )
    }
    (tmp_path / "via.json").write_text(json.dumps(entries))
    data = open_dataset(tmp_path)
    assert [set(s.truths) for s in data] == [{"EX"}, {"MA"}]
    assert [p.path for p in data.problems] == ["via.json: a.png"]


def test_annotations_in_the_parts_of_a_set_are_one_data_set(
    tmp_path: Path, write_image: Any
) -> None:
    parts = ("train", "EX", "a.jpg"), ("val", "MA", "a.jpg"), ("test", "", "b.jpg")
    for part, code, name in parts:
        write_image(tmp_path / part / name)
        write_table(tmp_path / part, row(name, RECT, {"class": code}) if code else row(name))
    data = open_dataset(tmp_path)
    assert [(s.id, s.split) for s in data] == [
        ("test/b", "test"),
        ("train/a", "train"),
        ("val/a", "valid"),
    ]
    assert {s.annotated for s in data} == {frozenset({"EX", "MA"})}
    assert [set(s.truths) for s in data] == [set(), {"EX"}, {"MA"}]
    assert data.problems == ()
    assert len(open_dataset(tmp_path / "val")) == 1


def test_numbers_as_text_are_numbers(via: Path) -> None:
    rect = {"name": "rect", "x": "16", "y": "24.0", "width": -6, "height": "-4"}
    ring = {"name": "polygon", "all_points_x": "[40, 43, 43, 40]", "all_points_y": "5,5,8,8"}
    write_table(via, row("a.jpg", rect, {"class": "EX"}), row("a.jpg", ring, {"class": "MA"}))
    (sample, *_) = open_dataset(via)
    assert sample.mask("EX", SHAPE)[20:24, 10:16].sum() == sample.mask("EX", SHAPE).sum() == 24
    assert sample.mask("MA", SHAPE).sum() == 16


def test_a_class_of_which_nothing_can_be_read_in_a_photograph_is_not_annotated_there(
    via: Path,
) -> None:
    star = {"name": "star"}
    write_table(
        via,
        row("a.jpg", RECT, {"class": "EX"}),
        row("a.jpg", star, {"class": "EX"}),
        row("b.jpg", RECT, {"class": {"MA": True, "HE": "false"}}),
        row("b.jpg", star, {"class": "EX"}),
    )
    data = open_dataset(via)
    assert [s.annotated for s in data] == [{"EX", "MA"}, {"MA"}, frozenset()]


def test_a_broken_file_beside_a_sound_one_is_named(via: Path) -> None:
    write_table(via, row("a.jpg", RECT, {"class": "EX"}))
    (via / "via_project.json").write_bytes(b'{"_via_img_metadata": {"a": ')
    data = open_dataset(via)
    assert data[0].mask("EX", SHAPE).sum() == 24
    assert any(p.path == "via_project.json" for p in data.problems)


def test_files_that_differ_are_named(via: Path) -> None:
    write_table(via, row("a.jpg", RECT, {"class": "EX"}))
    later = as_project(as_images([region({**RECT, "x": 40}, {"class": "EX"})]))
    (via / "sub" / "via_project.json").write_text(json.dumps(later))
    data = open_dataset(via)
    assert len(data[0].objects("EX", SHAPE)) == 2
    assert [p.path for p in data.problems if "differ" in p.message] == ["a.jpg"]


def test_entries_that_name_no_photograph_are_named(via: Path) -> None:
    images = as_images([region(RECT, {"class": "EX"})]) | {"nameless": {"filename": 7}}
    (via / "via.json").write_text(json.dumps(as_project(images)))
    problems = open_dataset(via).problems
    assert any("'nameless': it names no photograph" in p.message for p in problems)


ATTRIBUTES = {
    "1": {"aname": "lesion", "anchor_id": "FILE1_Z0_XY1", "type": 4, "options": {"0": "MA"}},
    "2": {"aname": "note", "anchor_id": "FILE1_Z0_XY1", "type": 1, "options": {}},
}


def project_3(*regions: Any, attributes: Any = None, **more: Any) -> dict[str, Any]:
    """Return a project of version 3 with the views 1 of a.jpg and 2 of b.jpg."""
    listed = [{"vid": "1", "flg": 0, "z": [], "av": {"1": "0"}} | drawn for drawn in regions]
    files = {
        "1": {"fid": 1, "fname": "a.jpg", "type": 2, "loc": 1, "src": ""},
        "2": {"fid": 2, "fname": "other", "type": 2, "loc": "2", "src": "https://host/b.jpg"},
    }
    return {
        "project": {"pname": "eyes", "data_format_version": "3.1.1", "vid_list": ["1", "2"]},
        "config": {},
        "attribute": attributes or ATTRIBUTES,
        "file": files,
        "view": {"1": {"fid_list": ["1"]}, "2": {"fid_list": [2]}},
        "metadata": {f"1_{n}": drawn for n, drawn in enumerate(listed)},
        **more,
    }


def write_3(folder: Path, *regions: Any, **more: Any) -> None:
    (folder / "eyes.json").write_text(json.dumps(project_3(*regions, **more)))


@pytest.mark.parametrize(
    ("xy", "alike"),
    [
        ([1, 3, 4], {"name": "point", "cx": 3, "cy": 4}),
        ([2, 10, 20, 6, 4], RECT),
        (["2", "10", "20", "6.0", "4"], RECT),
        ([3, 40, 30, 10], {"name": "circle", "cx": 40, "cy": 30, "r": 10}),
        ([4, 40, 30, 20, 5], {"name": "ellipse", "cx": 40, "cy": 30, "rx": 20, "ry": 5}),
        ([5, 10, 5, 40, 9], {"name": "polyline", "all_points_x": [10, 40], "all_points_y": [5, 9]}),
        (
            [6, 10, 5, 40, 5, 40, 9],
            {"name": "polyline", "all_points_x": [10, 40, 40], "all_points_y": [5, 5, 9]},
        ),
        (
            [7, 10, 5, 40, 5, 40, 25],
            {"name": "polygon", "all_points_x": [10, 40, 40], "all_points_y": [5, 5, 25]},
        ),
        ([8, 10, 22, 13, 20, 16, 23, 12, 24], RECT),
        ([9, 30, 30, 40, 40, 50, 30], {"name": "circle", "cx": 40, "cy": 30, "r": 10}),
    ],
)
def test_a_project_of_version_3_draws_as_the_earlier_ones(
    via: Path, xy: list[Any], alike: dict[str, Any]
) -> None:
    from napari_fundus.datasets.shapes import rasterize

    write_3(via, {"xy": xy})
    data = open_dataset(via)
    drawn = parse_region(alike)
    assert drawn is not None
    assert data.name == "via"
    assert (data[0].mask("MA", SHAPE) == rasterize([drawn], SHAPE)).all()
    assert data[0].mask("MA", SHAPE).any()
    assert [s.annotated for s in data] == [{"MA"}, {"MA"}, frozenset()]
    assert [p.path for p in data.problems] == ["sub/c.png"]


@pytest.mark.parametrize(
    ("drawn", "message"),
    [
        ({"xy": [2, 10, 20]}, "without the number 'width'"),
        ({"xy": [77, 1, 2]}, "number 77 of version 3"),
        ({"xy": [9, 1, 1, 2, 2, 3, 3]}, "number 9 of version 3"),
        ({"xy": {"x": 1}}, "no list"),
        ({"xy": [2, 1, 1, 3, 3], "flg": 1}, "marked as deleted"),
        ({"xy": [2, 1, 1, 3, 3], "vid": "9"}, "shows 0 files"),
        ({"xy": [2, 1, 1, 3, 3], "av": {"2": "MA"}}, "has no class"),
    ],
)
def test_what_cannot_be_read_of_version_3_is_named_and_the_rest_read(
    via: Path, drawn: dict[str, Any], message: str
) -> None:
    write_3(via, {"xy": [2, 10, 20, 6, 4]}, drawn)
    data = open_dataset(via)
    assert data[0].mask("MA", SHAPE).sum() == 24
    assert [p.path.partition(",")[0] for p in data.problems] == ["eyes.json", "sub/c.png"]
    assert message in data.problems[0].message or message in data.problems[1].message


def test_a_view_of_two_photographs_is_named(via: Path) -> None:
    write_3(via, {"xy": [2, 10, 20, 6, 4]}, view={"1": {"fid_list": [1, 2]}})
    data = open_dataset(via)
    assert not any(s.truths for s in data)
    assert any("shows 2 files" in p.message for p in data.problems)


def test_choices_of_version_3_stand_for_their_words(via: Path) -> None:
    attributes = {
        "1": {"aname": "kind", "type": 2, "options": {"0": "MA", "1": "HE", "2": "EX"}},
        "2": {"aname": "0", "type": 1, "options": {"0": "SE"}},
    }
    write_3(via, {"xy": [2, 10, 20, 6, 4], "av": {"1": "0,2", "2": "0"}}, attributes=attributes)
    assert set(open_dataset(via)[0].truths) == {"MA", "EX"}


def test_a_project_of_version_3_that_is_not_whole_says_what_it_lacks(via: Path) -> None:
    write_3(via, view=[])
    with pytest.raises(DatasetError, match=r"version|Annotator 3: it lacks view"):
        open_dataset(via)


def test_an_export_of_version_3_says_the_same_as_its_project(via: Path) -> None:
    lines = [
        "# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)",
        "# SHAPE_ID = " + json.dumps({"POINT": 1, "RECTANGLE": 2}),
        "# ATTRIBUTE = " + json.dumps(ATTRIBUTES),
        "# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,"
        "metadata",
    ]
    with (via / "eyes_export.csv").open("w", newline="") as file:
        file.write("\n".join(lines) + "\n")
        table = csv.writer(file)
        table.writerow(["1_a", '["a.jpg"]', 0, "[]", "[2,10,20,6,4]", '{"1":"0","2":"seen"}'])
        table.writerow(["1_b", '["b.jpg"]', 0, "[]", "[2,10", '{"1":"0"}'])
    data = open_dataset(via)
    assert data.name == "via"
    assert data[0].mask("MA", SHAPE).sum() == 24
    assert any("Row 2 (b.jpg): its coordinates are no list" in p.message for p in data.problems)
    write_3(via, {"xy": [2, 10, 20, 6, 4], "av": {"1": "0", "2": "seen"}})
    assert len(open_dataset(via)[0].objects("MA", SHAPE)) == 1


def test_the_classes_of_one_folder_say_nothing_of_those_of_another(
    tmp_path: Path, write_image: Any
) -> None:
    for part, code in (("one", "EX"), ("two/train", "MA"), ("two/val", "HE")):
        write_image(tmp_path / part / "a.jpg")
        write_table(tmp_path / part, row("a.jpg", RECT, {"class": code}))
    data = open_dataset(tmp_path)
    assert [sorted(s.annotated) for s in data] == [["EX"], ["HE", "MA"], ["HE", "MA"]]

    write_image(tmp_path / "three" / "b.jpg", 1)
    again = row("one/a.jpg", RECT, {"class": "EX"})
    write_table(tmp_path / "three", again, row("b.jpg"))
    first, third, *_ = open_dataset(tmp_path)
    assert (first.annotated, third.annotated) == ({"EX"}, {"EX"})
    assert len(first.objects("EX", SHAPE)) == 1
