"""Validation tiles that are drawn count for those left out, pixel by pixel where experts looked."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_fundus.training.loop.settings import TrainingSettings
from napari_fundus.training.patches.data import sample_validation_tiles
from napari_fundus.training.patches.store import PatchStore, StoredImage, pack_masks
from napari_fundus.training.patches.task import PatchTask

PATCH = 8


@pytest.fixture
def store() -> PatchStore:
    """Two images of 6 x 5 tiles, each with 2 lesions; one is annotated in part, for one class."""
    images = []
    for number in range(2):
        masks = np.zeros((2, 6 * PATCH, 5 * PATCH), np.bool_)
        masks[number, 2, 2] = masks[number, 20, 30] = True
        unknown = np.zeros(masks.shape[1:], np.bool_)
        unknown[:, : 12 * number] = True
        field_of_view = np.ones_like(unknown)
        field_of_view[:3] = False
        images.append(
            StoredImage(
                f"eye{number}",
                "",
                np.full((*unknown.shape, 3), 100, np.uint8),
                pack_masks(list(masks & field_of_view & ~unknown)),
                field_of_view,
                np.array([True, number == 0]),
                {"MA": 2, "HE": 2},
                unknown=unknown if number else None,
            )
        )
    return PatchStore(images, ["MA", "HE"], minimum_side=PATCH)


def kinds(store: PatchStore, tiles) -> np.ndarray:
    """Return whether each tile holds a lesion."""
    return np.array(
        [
            store[image].bits[row : row + PATCH, col : col + PATCH].any()
            for image, row, col in zip(tiles.images, tiles.rows, tiles.cols, strict=True)
        ]
    )


@pytest.mark.parametrize(("limit", "lesion_limit"), [(0, 0), (7, 0), (0, 1), (7, 1), (1000, 1000)])
def test_the_tiles_that_are_drawn_weigh_as_much_as_all(store, limit, lesion_limit) -> None:
    everything = sample_validation_tiles(store, PATCH, 0, seed=0)
    some = sample_validation_tiles(store, PATCH, limit, seed=0, lesion_limit=lesion_limit)
    assert set(everything.weights) == {1.0}
    for kind, most in ((True, lesion_limit), (False, limit)):
        total = int((kinds(store, everything) == kind).sum())
        drawn = some.weights[kinds(store, some) == kind]
        assert len(drawn) == (min(most, total) if most else total)
        np.testing.assert_allclose(drawn, total / len(drawn), rtol=1e-6)


def test_a_pixel_weighs_as_its_tile_where_an_expert_looked_for_the_class(store) -> None:
    tiles = sample_validation_tiles(store, PATCH, 7, seed=0, lesion_limit=1)
    assert len(set(tiles.weights)) == 2
    task = SimpleNamespace(validation_store=store, tiles=tiles, patch=PATCH, _tiles_per_batch=3)
    count, settings = 0, TrainingSettings()
    for step in range(PatchTask.validation_steps(task, settings)):
        weights = PatchTask.validation_batch(task, settings, step)["weights"]
        for tile in weights:
            image, row, col = tiles.images[count], tiles.rows[count], tiles.cols[count]
            window = np.s_[row : row + PATCH, col : col + PATCH]
            expected = np.zeros((2, PATCH, PATCH), np.float32)
            for number in range(2):
                if store[image].annotated[number]:
                    expected[number] = store[image].valid_mask[window] * tiles.weights[count]
            torch.testing.assert_close(tile, torch.from_numpy(expected))
            count += 1
    assert count == len(tiles.weights) == 8
