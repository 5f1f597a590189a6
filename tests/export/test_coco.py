"""COCO files are read by pycocotools, with the same masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pycocotools import mask as reference
from pycocotools.coco import COCO

from napari_fundus.export import to_coco, write_coco
from napari_fundus.results.detections import Detections


def test_pycocotools_decodes_the_very_labels(result: Detections, tmp_path: Path) -> None:
    write_coco(result, tmp_path / "eye.coco.json")
    coco = COCO(tmp_path / "eye.coco.json")
    rebuilt = {code: np.zeros(result.shape, np.int32) for code in result.lesions}
    for annotation in coco.loadAnns(coco.getAnnIds()):
        code = coco.loadCats(annotation["category_id"])[0]["code"]
        mask = coco.annToMask(annotation).astype(bool)
        rebuilt[code][mask] = annotation["instance_id"]
        row = result.instances.set_index("id").loc[annotation["instance_id"]]
        assert annotation["area"] == mask.sum() == row["area_px"]
        assert annotation["score"] == row["score"]
        assert annotation["bbox"] == reference.toBbox(annotation["segmentation"]).tolist()
    assert len(coco.anns) == len(result.instances)
    for code, labels in result.labels.items():
        np.testing.assert_array_equal(rebuilt[code], labels)


def test_annotations_serve_as_results_too(result: Detections, tmp_path: Path) -> None:
    write_coco(result, tmp_path / "eye.coco.json")
    coco = COCO(tmp_path / "eye.coco.json")
    again = coco.loadRes(to_coco([result])["annotations"])
    assert len(again.anns) == len(result.instances)


def test_categories_bear_standard_names_and_stable_ids(result: Detections) -> None:
    categories = to_coco([result])["categories"]
    assert [(c["id"], c["name"]) for c in categories] == [
        (1, "microaneurysm"),
        (3, "hard exudate"),
        (100, "drusen"),
    ]


def test_several_images_share_a_file(result: Detections, make) -> None:
    other = make({"SE": np.ones((70, 80), np.float32)})
    content = to_coco([result, other])
    assert [(i["id"], i["height"], i["width"]) for i in content["images"]] == [
        (1, 120, 160),
        (2, 70, 80),
    ]
    assert content["annotations"][-1]["image_id"] == 2
    ids = [a["id"] for a in content["annotations"]]
    assert ids == list(range(1, len(result.instances) + 2))
    assert len(content["info"]["provenance"]) == 2


def test_no_lesion_is_a_valid_file(make, tmp_path: Path) -> None:
    write_coco(make({"MA": np.zeros((70, 70), np.float32)}), tmp_path / "x.json")
    assert COCO(tmp_path / "x.json").getAnnIds() == []
