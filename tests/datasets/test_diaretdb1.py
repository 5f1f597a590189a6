"""DIARETDB1 v1.1 and v2.1 in their original layouts, and their traps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_fundus.datasets import open_dataset
from napari_fundus.datasets.annotations import ConsensusTruth, MultiExpertTruth
from napari_fundus.datasets.diaretdb1 import Diaretdb1Drawings, Diaretdb1Maps
from napari_fundus.datasets.diaretdb1_xml import read_drawing
from napari_fundus.datasets.shapes import Ellipse, rasterize
from napari_fundus.errors import DatasetError
from napari_fundus.lesions import DR_LESIONS

SHAPE = (64, 96)
MAPS = ("hardexudates", "softexudates", "redsmalldots", "hemorrhages")


def circle(x: float, y: float, radius: float) -> str:
    return (
        f"<circleregion><centroid><coords2d>{x},{y}</coords2d></centroid>"
        f"<radius>{radius}</radius></circleregion>"
    )


def ellipse(x: float, y: float, rx: float, ry: float, angle: float) -> str:
    return (
        f"<ellipseregion><centroid><coords2d>{x},{y}</coords2d></centroid>"
        f'<radius direction="x">{rx}</radius><radius direction="y">{ry}</radius>'
        f"<angle>{angle}</angle></ellipseregion>"
    )


def polygon(*points: tuple[float, float]) -> str:
    inside = "".join(f"<coords2d>{x},{y}</coords2d>" for x, y in points)
    return f"<polygonregion>{inside}</polygonregion>"


def marking(
    region: str, kind: str = "Hard_exudates", confidence: str = "High", point: str = "20,20"
) -> str:
    return (
        f"<marking>{region}<representativepoint><coords2d>{point}</coords2d></representativepoint>"
        f"<confidencelevel>{confidence}</confidencelevel><markingtype>{kind}</markingtype></marking>"
    )


def drawing(*markings: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE imgannotool>\n<imgannotooldata>'
        "<header><creator>expert</creator></header>"
        f"<imagename>diaretdb1_image001.png</imagename><markinglist>{''.join(markings)}"
        "</markinglist></imgannotooldata>"
    )


@pytest.fixture
def v2(tmp_path: Path, write_image: Any) -> Path:
    """Two images, four experts each: a training one with lesions, a testing one without."""
    root = tmp_path / "ddb1_v02_01"
    truth = root / "groundtruth"
    truth.mkdir(parents=True)
    lines = []
    for number in (1, 2):
        stem = f"diaretdb1_image{number:03d}"
        write_image(root / "images" / f"{stem}.png")
        names = [f"groundtruth/{stem}_{expert:02d}_plain.xml" for expert in range(1, 5)]
        for name in names:
            (root / name).write_text(drawing())
        lines.append(f"images/{stem}.png {' '.join(names)}\r\n")
    (root / "ddb1_v02_01_train_plain.txt").write_text(lines[0], newline="")
    (root / "ddb1_v02_01_test_plain.txt").write_text(lines[1], newline="")
    return root


def draw(v2: Path, *experts: str) -> MultiExpertTruth | None:
    """Give the four experts of image 1 their drawings; return the truth of hard exudates."""
    for number, text in enumerate(experts, start=1):
        path = v2 / "groundtruth" / f"diaretdb1_image001_{number:02d}_plain.xml"
        path.write_text(text)
    truth = open_dataset(v2)[0].truths.get("EX")
    assert truth is None or isinstance(truth, MultiExpertTruth)
    return truth


def test_document_type_that_declares_nothing_is_parsed(v2: Path) -> None:
    data = open_dataset(v2)

    assert isinstance(data, Diaretdb1Drawings)
    assert data.problems == ()
    assert data.splits == {"train": 1, "test": 1}
    assert data[1].annotated == set(DR_LESIONS)
    assert not data[1].mask("MA", SHAPE).any()


def test_truth_is_where_the_mean_of_four_reaches_three_quarters(v2: Path) -> None:
    agreed, doubted = circle(20, 20, 5), circle(70, 40, 5)
    truth = draw(
        v2,
        drawing(marking(agreed), marking(doubted)),
        drawing(marking(agreed), marking(doubted)),
        drawing(marking(agreed, confidence="Low"), marking(doubted, confidence="Low")),
        drawing(marking(agreed, confidence="Medium"), marking(doubted, confidence="Low")),
    )

    assert truth is not None
    mask = truth.mask(SHAPE)
    assert mask[20, 20]
    assert not mask[40, 70]
    assert truth.mean_confidence(SHAPE)[40, 70] == pytest.approx(0.625)
    assert truth.count(SHAPE) == 1


def test_drawing_of_each_expert_stays_accessible(v2: Path) -> None:
    truth = draw(v2, drawing(marking(circle(20, 20, 5))))

    assert truth is not None
    assert not truth.mask(SHAPE).any()
    assert rasterize((m.shape for m in truth.experts["01"]), SHAPE).sum() == 81
    assert [len(truth.experts[name]) for name in ("01", "02", "03", "04")] == [1, 0, 0, 0]


def test_all_kinds_of_regions_are_rasterized(v2: Path) -> None:
    text = drawing(
        marking(circle(15.5, 15.5, 4)),
        marking(ellipse(48, 32, 20, 4, 30), point="48,32"),
        marking(polygon((70, 40), (90, 40), (90, 60), (70, 60)), point="80,50"),
    )
    truth = draw(v2, text, text, text, text)

    assert truth is not None
    mask = truth.mask(SHAPE)
    assert truth.count(SHAPE) == 3
    assert mask[50, 80]
    assert mask[40:61, 70:91].all()
    assert mask[32 - 8, 48 + 13]
    assert not mask[32 + 8, 48 + 13]


def test_centroid_of_a_polygon_is_no_corner(v2: Path) -> None:
    corners = polygon((70, 40), (90, 40), (90, 60), (70, 60))
    middle = "<centroid><coords2d>20,20</coords2d></centroid>"
    text = drawing(marking(corners.replace("<polygonregion>", f"<polygonregion>{middle}")))
    truth = draw(v2, text, text, text, text)

    assert truth is not None
    assert truth.mask(SHAPE).sum() == 21 * 21


def test_angle_turns_the_way_in_which_the_experts_points_fall_inside(v2: Path) -> None:
    """The documentation leaves the sense open; points set in the lesions settle it."""
    text = drawing(marking(ellipse(48, 32, 20, 4, 30), point="61,40"))

    truth = draw(v2, text, text, text, text)

    assert truth is not None
    assert truth.mask(SHAPE)[40, 61]
    assert not truth.mask(SHAPE)[24, 61]


def test_radius_without_direction_or_only_one_is_understood(v2: Path) -> None:
    plain = ellipse(48, 32, 20, 4, 0).replace(' direction="x"', "").replace(' direction="y"', "")
    single = ellipse(48, 32, 7, 7, 0).replace('<radius direction="y">7.0</radius>', "")
    single = single.replace('<radius direction="y">7</radius>', "")
    truth = draw(v2, drawing(marking(plain), marking(single)))

    assert truth is not None
    first, second = (m.shape for m in truth.experts["01"])
    assert first == Ellipse(48, 32, 20, 4, 0)
    assert second == Ellipse(48, 32, 7, 7)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("Red_small_dots", "MA"),
        ("Haemorrhages", "HE"),
        ("Hard_exudates", "EX"),
        ("Soft_exudates", "SE"),
        ("IRMA", "IRMA"),
        ("Neovascularisation", "NV"),
        ("Disc", "OD"),
    ],
)
def test_types_of_markings_have_their_classes(v2: Path, kind: str, code: str) -> None:
    text = drawing(marking(circle(20, 20, 5), kind=kind))
    draw(v2, text, text, text, text)

    sample = open_dataset(v2)[0]

    assert set(sample.truths) == {code}
    assert sample.annotated == {*DR_LESIONS, code}
    assert sample.mask(code, SHAPE).sum() == 81


def test_structure_that_not_every_expert_drew_is_not_annotated(v2: Path) -> None:
    draw(v2, drawing(marking(circle(20, 20, 5), kind="Disc")))

    assert open_dataset(v2)[0].annotated == set(DR_LESIONS)


def test_field_and_unknown_types_are_no_lesions(v2: Path) -> None:
    text = drawing(marking(circle(20, 20, 50), kind="Fundus_area"))
    draw(v2, text, text, text, text)

    assert dict(open_dataset(v2)[0].truths) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '<!DOCTYPE imgannotool [<!ENTITY a "aaaa">]><imgannotooldata>&a;</imgannotooldata>',
            "declares",
        ),
        (
            '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><imgannotooldata>&a;</imgannotooldata>',
            "declares",
        ),
        (drawing(marking(circle(1, 1, 1)))[:150], "not well-formed"),
        ("", "not well-formed"),
        (drawing(marking("<circleregion/>")), "no readable region"),
        (drawing(marking(circle(20, 20, 3), confidence="Certain")), "Low is taken"),
        (drawing(marking(circle(20, 20, 3).replace("20,20", "20"))), "no readable region"),
    ],
)
def test_bad_xml_is_a_problem_named_by_its_file(v2: Path, text: str, message: str) -> None:
    good = drawing(marking(circle(20, 20, 5)))
    truth = draw(v2, text, good, good, good)

    problems = open_dataset(v2).problems

    name = "groundtruth/diaretdb1_image001_01_plain.xml"
    assert any(p.path == name and message in p.message for p in problems), problems
    assert truth is not None
    assert truth.mask(SHAPE)[20, 20]


def test_document_type_with_an_address_is_parsed_and_not_fetched(v2: Path) -> None:
    text = drawing(marking(circle(20, 20, 5))).replace(
        "<!DOCTYPE imgannotool>", '<!DOCTYPE imgannotool SYSTEM "http://invalid.invalid/x.dtd">'
    )
    draw(v2, text, text, text, text)

    assert open_dataset(v2).problems == ()


def test_listed_annotation_and_image_that_are_missing_are_named(v2: Path) -> None:
    (v2 / "groundtruth" / "diaretdb1_image001_03_plain.xml").unlink()
    (v2 / "images" / "diaretdb1_image002.png").unlink()

    paths = {p.path for p in open_dataset(v2).problems}

    assert "groundtruth/diaretdb1_image001_03_plain.xml" in paths
    assert "diaretdb1_image002" in paths


def test_missing_lists_leave_the_split_open(v2: Path) -> None:
    (v2 / "ddb1_v02_01_train_plain.txt").unlink()
    (v2 / "ddb1_v02_01_test_plain.txt").unlink()

    data = open_dataset(v2)

    assert data.splits == {"all": 2}
    assert [p.path for p in data.problems] == [
        "ddb1_v02_01_train_plain.txt",
        "ddb1_v02_01_test_plain.txt",
    ]


def test_upper_case_names_are_understood(v2: Path) -> None:
    (v2 / "images").rename(v2 / "Images")
    (v2 / "groundtruth").rename(v2 / "GroundTruth")
    image = v2 / "Images" / "diaretdb1_image001.png"
    image.rename(image.with_suffix(".PNG"))

    data = open_dataset(v2)

    assert data.problems == ()
    assert data.splits == {"train": 1, "test": 1}


@pytest.mark.parametrize("inside", ["..", "images", "groundtruth"])
def test_folder_around_or_inside_v2_is_understood(v2: Path, inside: str) -> None:
    assert open_dataset(v2 / inside).name == "diaretdb1-v2.1"


@pytest.fixture
def v1(tmp_path: Path, write_image: Any) -> Path:
    root = tmp_path / "diaretdb1_v_1_1"
    resources = root / "resources"
    for number in (1, 2, 3):
        name = f"image{number:03d}.png"
        write_image(resources / "images" / "ddb1_fundusimages" / name)
        for folder in MAPS:
            path = resources / "images" / "ddb1_groundtruth" / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            grey = np.zeros(SHAPE, np.uint8)
            if number == 1:
                grey[10:15, 10:15] = 126
                grey[30:34, 30:34] = 189
                grey[50:52, 50:52] = 252
            Image.fromarray(grey).save(path)
    disc = np.zeros(SHAPE, np.uint8)
    disc[4:60, 20:76] = 255
    fundus_mask = resources / "images" / "ddb1_fundusmask"
    fundus_mask.mkdir()
    Image.fromarray(disc).save(fundus_mask / "fmask.tif")
    for split, text in (("train", "image001.png\r\n"), ("test", "image002.png\nimage003.png\n")):
        (resources / f"{split}datasets").mkdir()
        (resources / f"{split}datasets" / f"{split}set.txt").write_text(text, newline="")
    return root


def test_maps_of_v1_are_true_from_three_quarters_on(v1: Path) -> None:
    data = open_dataset(v1)

    assert isinstance(data, Diaretdb1Maps)
    assert data.problems == ()
    assert data.splits == {"train": 1, "test": 2}
    for code in DR_LESIONS:
        assert data[0].mask(code, SHAPE).sum() == 20
        assert data[0].truths[code].count(SHAPE) == 2
        assert not data[1].mask(code, SHAPE).any()
    truth = data[0].truths["MA"]
    assert isinstance(truth, ConsensusTruth)
    assert truth.mean_confidence(SHAPE)[12, 12] == pytest.approx(0.5)


def test_field_of_view_of_v1_comes_with_the_image(v1: Path) -> None:
    fov = open_dataset(v1)[0].image().given_field_of_view

    assert fov is not None
    assert fov.sum() == 56 * 56


def test_lists_of_v1_may_have_columns_of_paths(v1: Path) -> None:
    (v1 / "resources" / "traindatasets" / "trainset.txt").write_text(
        "resources/images/ddb1_fundusimages/image001.png resources/images/ddb1_groundtruth/"
        "hardexudates/image001.png\n"
    )

    data = open_dataset(v1)

    assert data.problems == ()
    assert data.splits == {"train": 1, "test": 2}


def test_what_is_missing_from_v1_is_named(v1: Path) -> None:
    truths = v1 / "resources" / "images" / "ddb1_groundtruth"
    (truths / "hemorrhages" / "image002.png").unlink()
    shutil.rmtree(truths / "softexudates")
    shutil.rmtree(v1 / "resources" / "testdatasets")
    shutil.rmtree(v1 / "resources" / "images" / "ddb1_fundusmask")

    data = open_dataset(v1)

    paths = [p.path for p in data.problems]
    assert "resources/images/ddb1_groundtruth/hemorrhages/image002" in paths
    assert "resources/images/ddb1_groundtruth/softexudates" in paths
    assert "resources/testdatasets/testset.txt" in paths
    assert any(path.endswith("fmask.tif") for path in paths)
    assert data[1].annotated == {"MA", "EX"}


@pytest.mark.parametrize(
    "inside", ["..", "resources", "resources/images", "resources/images/ddb1_fundusimages"]
)
def test_folder_around_or_inside_v1_is_understood(v1: Path, inside: str) -> None:
    data = open_dataset(v1 / inside)

    assert data.name == "diaretdb1-v1.1"
    assert data.splits == {"train": 1, "test": 2}


@pytest.mark.parametrize("name", ["marking", "circleregion", "anything"])
def test_nesting_without_end_is_refused_at_once(name: str, tmp_path: Path) -> None:
    path = tmp_path / "deep.xml"
    path.write_text(f"<x>{f'<{name}>' * 300_000}{f'</{name}>' * 300_000}</x>")
    with pytest.raises(DatasetError, match="nested more than"):
        read_drawing(path)


def test_xml_larger_than_any_annotation_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.xml"
    with path.open("wb") as file:
        file.truncate(17 << 20)
    with pytest.raises(DatasetError, match="17 MB"):
        read_drawing(path)
