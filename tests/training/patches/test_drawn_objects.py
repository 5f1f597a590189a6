"""Lesions drawn one by one stay so: through scale, patches, turns and zoom."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from napari_fundus.backends.mask_rcnn.targets import detection_target, objects_from_masks
from napari_fundus.backends.mask_rcnn.training import MaskRCNNTask
from napari_fundus.backends.mask_rcnn.training_options import MaskRCNNTrainingOptions
from napari_fundus.backends.unet.training import UNetTask
from napari_fundus.backends.unet.training_options import UNetTrainingOptions
from napari_fundus.datasets import Dataset, open_dataset
from napari_fundus.preprocessing import Geometry
from napari_fundus.results.objects import LesionObject
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training import TrainingSettings
from napari_fundus.training.loop.fabric import seeded
from napari_fundus.training.patches.drawn_objects import (
    components_match_objects,
    crop_objects,
    label_planes_to_objects,
    objects_to_label_planes,
    objects_to_working_scale,
)
from napari_fundus.training.patches.split_image import split_image

LESIONS = ("MA", "HE")
TOUCHING = (90.0, 70.0, 14.0, 16.0), (104.0, 70.0, 12.0, 16.0)
"""Left, top, width, height of two haemorrhages with a common side."""
ALONE = (60.0, 90.0, 8.0, 8.0)
SETTINGS = TrainingSettings(batch_size=4, validation_share=0.5)


def corners(box: tuple[float, ...]) -> list[tuple[float, float]]:
    left, top, width, height = box
    return [
        (left, top),
        (left + width, top),
        (left + width, top + height),
        (left, top + height),
    ]


def coco_set(root: Path, boxes: list[tuple[float, ...]]) -> None:
    pictures = sorted(root.glob("*.png"))
    told = {
        "images": [
            {"id": n, "file_name": p.name, "height": 160, "width": 200}
            for n, p in enumerate(pictures)
        ],
        "categories": [{"id": 1, "name": "haemorrhage"}],
        "annotations": [
            {
                "id": 10 * n + k,
                "image_id": n,
                "category_id": 1,
                "segmentation": [[v for point in corners(box) for v in point]],
                "bbox": list(box),
            }
            for n in range(len(pictures))
            for k, box in enumerate(boxes)
        ],
    }
    (root / "annotations.json").write_text(json.dumps(told), "utf-8")


def via_set(root: Path, boxes: list[tuple[float, ...]]) -> None:
    with (root / "via.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["filename", "region_shape_attributes", "region_attributes"])
        for picture in sorted(root.glob("*.png")):
            for left, top, width, height in boxes:
                # Its border belongs to a polygon of VIA: the last pixel is that before the corner.
                points = corners((left, top, width - 1, height - 1))
                shape = {
                    "name": "polygon",
                    "all_points_x": [x for x, _ in points],
                    "all_points_y": [y for _, y in points],
                }
                table.writerow([picture.name, json.dumps(shape), '{"lesion": "haemorrhage"}'])


@pytest.fixture(params=[coco_set, via_set], ids=["coco", "via"])
def drawn_set(request, tmp_path, draw):
    """Return a data set of two eyes with the polygons given, in either format."""

    def make(*boxes: tuple[float, ...]) -> Dataset:
        for seed in range(2):
            Image.fromarray(draw(160, 200, seed=seed).pixels).save(tmp_path / f"eye{seed}.png")
        request.param(tmp_path, list(boxes))
        return open_dataset(tmp_path)

    return make


def task_of(data: Dataset, **options: Any) -> MaskRCNNTask:
    chosen = {
        "start": "",
        "filters": (4, 6, 8, 8, 8),
        "patch": 64,
        "disc_diameter": 160,
        "lesions": ("HE",),
        "class_shares": {"HE": 1.0},
        "zoom": 0.0,
        **options,
    }
    task = MaskRCNNTask(data, options=MaskRCNNTrainingOptions.model_validate(chosen))
    task.prepare(SETTINGS, Monitor())
    return task


@pytest.mark.parametrize(
    "variation", [{}, {"zoom": 0.1}, {"rotation": 40.0}, {"zoom": 0.1, "dilations": 2}]
)
def test_touching_lesions_are_two_targets_in_a_patch_however_it_is_varied(
    drawn_set, variation
) -> None:
    task = task_of(drawn_set(*TOUCHING), **variation)
    seen = 0
    for step in range(4):
        with seeded(step):
            batch = task.augment(task.batch(SETTINGS, (0, 0, step, 0)))
        for planes, numbers, target in zip(
            batch["masks"].numpy(), batch["objects"].numpy(), batch["targets"], strict=True
        ):
            border = np.concatenate([planes[0, [0, -1]].ravel(), planes[0][:, [0, -1]].ravel()])
            if not border.any():
                # Seen whole: both are there, and together they are all that was drawn.
                seen += 1
                assert len(target["boxes"]) == 2
                if not variation.get("dilations"):
                    areas = [int(mask.sum()) for mask in target["masks"]]
                    assert sum(areas) == planes.sum()
                    assert sorted(areas) == sorted(np.unique(numbers, return_counts=True)[1][1:])
    assert seen >= 4


def test_touching_lesions_are_two_in_the_validation(drawn_set) -> None:
    task = task_of(drawn_set(*TOUCHING))
    lesions = 0.0
    nothing = [
        {
            "boxes": torch.zeros(0, 4),
            "labels": torch.zeros(0, dtype=torch.int64),
            "scores": torch.zeros(0),
            "masks": torch.zeros(0, 1, 28, 28),
        }
    ]
    for step in range(task.validation_steps(SETTINGS)):
        batch = task.validation_batch(SETTINGS, step)

        def blind(images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
            return nothing * len(images)

        lesions += float(task.validate(blind, batch)["HE_lesions"])
    whole = sum(
        len(objects_from_masks(planes, ("HE",)))
        for step in range(task.validation_steps(SETTINGS))
        for planes in task.validation_batch(SETTINGS, step)["masks"].numpy()
    )
    assert lesions > whole


def test_lesions_far_apart_need_no_more_memory_than_masks(drawn_set) -> None:
    task = task_of(drawn_set(TOUCHING[0], ALONE))
    assert all(not image.objects for image in task.validation_store)
    assert "objects" not in task.batch(SETTINGS, (0, 0, 0, 0))


def test_methods_that_mark_pixels_hold_masks_alone(drawn_set) -> None:
    options = UNetTrainingOptions(disc_diameter=160, patch=64, lesions=("HE",))
    task = UNetTask(drawn_set(*TOUCHING), options=options)
    task.prepare(SETTINGS, Monitor())
    assert all(not image.objects for image in task.validation_store)


def test_halves_of_one_image_keep_their_own_lesions(drawn_set) -> None:
    task = task_of(drawn_set(*TOUCHING, ALONE))
    image = task.sampler.store[0]
    assert len(image.objects) == 3
    parts = split_image(image, ("HE",), least=32)
    for part in parts:
        painted = np.zeros(part.bits.shape, np.bool_)
        for found in part.objects:
            painted[found.window] |= found.mask
        assert np.array_equal(painted, part.bits > 0)
    assert all(part.objects for part in parts)


def square(row: int, col: int, side: int, lesion: str = "MA") -> LesionObject:
    return LesionObject(lesion, 1.0, row, col, np.ones((side, side), np.bool_))


def test_overlapping_lesions_keep_all_their_pixels() -> None:
    given = [square(4, 4, 8), square(8, 8, 8), square(0, 0, 20, "HE"), square(20, 20, 3)]
    planes = np.stack(objects_to_label_planes(given, LESIONS, (32, 32)))
    assert len(planes) == 3
    found, covered = label_planes_to_objects(planes, LESIONS)
    told = {(o.lesion, o.row, o.col, int(o.mask.sum())) for o in found}
    assert told == {(o.lesion, o.row, o.col, int(o.mask.sum())) for o in given}
    assert covered[0].sum() == 64 + 64 - 16 + 9
    assert covered[1].sum() == 400


def test_a_lesion_in_two_parts_is_one_target_beside_a_mask_without_objects() -> None:
    parts = np.zeros((5, 20), np.bool_)
    parts[:, :5] = parts[:, 15:] = True
    torn = LesionObject("MA", 1.0, 10, 4, parts)
    masks = np.zeros((2, 32, 32), np.uint8)
    masks[0][torn.window] |= torn.mask
    masks[1, 2:8, 2:8] = 1
    drawn = np.stack(objects_to_label_planes([torn], LESIONS, (32, 32)))
    target = detection_target(masks, torch.ones(2, dtype=torch.bool), LESIONS, drawn=drawn)
    assert target["labels"].tolist() == [1, 2]
    assert target["boxes"].tolist() == [[4, 10, 24, 15], [2, 2, 8, 8]]
    assert target["masks"][0].sum() == 50


def test_each_lesion_is_thickened_by_itself_and_ends_at_the_border() -> None:
    given = [square(0, 10, 4), square(0, 14, 4)]
    drawn = np.stack(objects_to_label_planes(given, LESIONS, (24, 32)))
    masks = np.zeros((2, 24, 32), np.uint8)
    masks[0, :4, 10:18] = 1
    found = objects_from_masks(masks, LESIONS, drawn=drawn, dilations=2)
    assert [(o.row, o.col, o.mask.shape) for o in found] == [(0, 6, (8, 12)), (0, 10, (8, 12))]


def test_scaled_lesions_together_are_the_scaled_mask() -> None:
    rng = np.random.default_rng(0)
    given = [square(int(r), int(c), 9) for r, c in rng.integers(0, 90, (30, 2))]
    mask = np.zeros((100, 100), np.bool_)
    for found in given:
        mask[found.window] |= found.mask
    geometry = Geometry.identity((100, 100)).crop((5, 5, 95, 95)).resize((40, 40))
    known = np.ones((40, 40), np.bool_)
    known[:10] = False
    scaled = objects_to_working_scale(given, geometry, known)
    painted = np.zeros((40, 40), np.bool_)
    for found in scaled:
        painted[found.window] |= found.mask
    assert np.array_equal(painted, geometry.forward_mask(mask) & known)
    assert 15 < len(scaled) <= 30


@pytest.mark.parametrize(("gap", "suffice"), [(0, False), (4, False), (5, True), (9, True)])
def test_components_suffice_where_lesions_do_not_come_near(gap, suffice) -> None:
    pair = [square(10, 10, 6), square(10, 16 + gap, 6)]
    assert components_match_objects(pair, (40, 40), reach=2) is suffice


def test_what_a_patch_cuts_is_trimmed() -> None:
    diagonal = LesionObject("MA", 1.0, 0, 0, np.eye(10, dtype=np.bool_))
    (part,) = crop_objects([diagonal, square(30, 30, 4)], 4, 2, (4, 20))
    assert (part.row, part.col, part.mask.shape) == (0, 2, (4, 4))
    assert np.array_equal(part.mask, np.eye(4, dtype=np.bool_))
    assert crop_objects([diagonal], 6, 0, (4, 4)) == []
