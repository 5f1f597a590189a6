"""Augmentation: image and mask together, exact turns, the same for the same seed."""

from __future__ import annotations

import pytest
import torch

from napari_fundus.training.loop.fabric import seeded
from napari_fundus.training.patches.augment import Augmentation, AugmentationSettings

ALL = AugmentationSettings(gain=0.2, offset=0.1, colour=0.1, scale=0.1, rotation=10)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.rand(16, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    return images, (images[:, :1] > 0.5).to(torch.uint8)


def test_image_and_mask_are_turned_and_flipped_alike_and_exactly() -> None:
    images, masks = batch()
    with seeded(1):
        turned, turned_masks = Augmentation(AugmentationSettings())(images, masks)
    assert torch.equal((turned[:, :1] > 0.5).to(torch.uint8), turned_masks)
    for before, after in zip(images, turned, strict=True):
        views = [torch.rot90(b, k, (-2, -1)) for b in (before, before.flip(-1)) for k in range(4)]
        assert any(torch.equal(after, view) for view in views)


def test_groups_of_a_batch_are_varied_differently() -> None:
    images = batch()[0][:1].expand(16, -1, -1, -1)
    with seeded(0):
        turned, _ = Augmentation(AugmentationSettings())(images, images)
    assert len({t.numpy().tobytes() for t in turned}) > 2


def test_the_same_seed_gives_the_same_and_another_gives_another() -> None:
    def run(*seed: int) -> torch.Tensor:
        with seeded(*seed):
            return Augmentation(ALL)(*batch())[0]

    assert torch.equal(run(0, 5), run(0, 5))
    assert not torch.equal(run(0, 5), run(0, 6))


def test_the_generator_of_others_is_left_as_it_was() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with seeded(1):
        Augmentation(ALL)(*batch())
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("field", ["gain", "offset", "colour"])
def test_grey_values_change_within_their_bounds_and_masks_do_not(field: str) -> None:
    settings = AugmentationSettings(turns=False, flips=False, **{field: 0.1})
    images, masks = torch.full((64, 3, 4, 4), 0.5), torch.ones(64, 1, 4, 4, dtype=torch.uint8)
    changed, same = Augmentation(settings)(images, masks)
    largest = 0.1 if field == "offset" else 0.05
    assert 0.2 * largest < (changed - 0.5).abs().max() <= largest + 1e-6
    assert torch.equal(same, masks)


def test_results_stay_within_the_range_of_images_and_masks_stay_binary() -> None:
    images, masks = Augmentation(AugmentationSettings(gain=1, offset=1, rotation=45))(*batch())
    assert images.min() >= 0
    assert images.max() <= 1
    assert set(masks.unique().tolist()) <= {0, 1}
    assert type(images) is type(masks) is torch.Tensor


def test_nothing_asked_for_changes_nothing() -> None:
    images, masks = batch()
    same, _ = Augmentation(AugmentationSettings(turns=False, flips=False))(images, masks)
    assert same is images
