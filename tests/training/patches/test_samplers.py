"""Samplers: the right patches in the right shares, the same for the same key, in little memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_fundus.errors import TrainingError
from napari_fundus.training.patches.lesion_pixel_sampler import LesionPixelSampler
from napari_fundus.training.patches.samplers import (
    BalancedSampler,
    LesionCentredSampler,
    PackedPositions,
)
from napari_fundus.training.patches.store import PatchStore, StoredImage, pack_masks

SIZE = 16


def stored(
    number: int,
    masks: list[npt.NDArray[np.bool_]],
    *,
    annotated: tuple[bool, ...] = (True, True),
) -> StoredImage:
    rng = np.random.default_rng(number)
    height, width = masks[0].shape
    fov = np.hypot(*np.ogrid[-height / 2 : height / 2, -width / 2 : width / 2]) < height * 0.48
    return StoredImage(
        f"s{number}",
        f"g{number}",
        rng.integers(0, 256, (height, width, 3), np.uint8),
        pack_masks(masks),
        fov,
        np.array(annotated),
        {},
    )


def blob(shape: tuple[int, int], row: int, col: int, side: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros(shape, np.bool_)
    mask[row : row + side, col : col + side] = True
    return mask


@pytest.fixture
def store() -> PatchStore:
    a, b = (90, 101), (120, 80)
    none = np.zeros(b, np.bool_)
    return PatchStore(
        [
            stored(0, [blob(a, 40, 50, 3), blob(a, 20, 30, 12)]),
            stored(1, [none, none]),
            stored(2, [blob(b, 60, 40, 2), none], annotated=(True, False)),
        ],
        ["MA", "EX"],
    )


@settings(max_examples=60, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 20)), min_size=1, max_size=4),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_the_packed_set_holds_just_the_places_of_the_grids_in_order(shapes, share, seed) -> None:
    rng = np.random.default_rng(seed)
    grids = [rng.random(shape) < share for shape in shapes]
    places = PackedPositions(grids, stride=2)
    plain = [(n, 2 * r, 2 * c) for n, grid in enumerate(grids) for r, c in np.argwhere(grid)]
    assert len(places) == len(plain)
    found = places.at(np.arange(len(plain)))
    assert list(zip(*(part.tolist() for part in found), strict=True)) == plain


def test_a_stride_two_index_of_large_images_takes_one_bit_a_place() -> None:
    places = PackedPositions([np.ones((700, 700), np.bool_)] * 10, stride=2)
    assert len(places) == 4_900_000
    assert places.nbytes < len(places) / 8 * 1.4


def test_the_index_agrees_with_a_plain_loop(store: PatchStore) -> None:
    sampler = BalancedSampler(store, SIZE, stride=2)
    positive, negative = set(), set()
    for number, image in enumerate(store):
        height, width = image.bits.shape
        for row in range(0, height - SIZE + 1, 2):
            for col in range(0, width - SIZE + 1, 2):
                if not image.field_of_view[row + SIZE // 2, col + SIZE // 2]:
                    continue
                if image.bits[row : row + SIZE, col : col + SIZE].any():
                    positive.add((number, row, col))
                elif image.annotated.all():
                    negative.add((number, row, col))
    for places, plain in ((sampler.positive, positive), (sampler.negative, negative)):
        found = places.at(np.arange(len(places)))
        assert set(zip(*(part.tolist() for part in found), strict=True)) == plain
    assert sampler.counts == {"with lesion": len(positive), "without lesion": len(negative)}


@pytest.mark.parametrize(("share", "count"), [(0.8, 128), (0.5, 10), (0.0, 8), (1.0, 8)])
def test_batches_hold_the_share_of_lesion_patches_asked_for(
    store: PatchStore, share: float, count: int
) -> None:
    batch = BalancedSampler(store, SIZE, positive_share=share).batch(count, 1, 2, 3)
    assert batch.masks.any(axis=(1, 2)).sum() == round(share * count)
    assert batch.images.shape == (count, SIZE, SIZE, 3)
    assert batch.annotated.shape == (count, 2)


def test_patches_without_lesions_come_only_from_where_they_may(store: PatchStore) -> None:
    sampler = BalancedSampler(store, SIZE, negative_image_indices=[1])
    assert set(sampler.negative.draw(np.random.default_rng(0), 200)[0]) == {1}
    sampler = BalancedSampler(store, SIZE)
    assert set(sampler.negative.draw(np.random.default_rng(0), 200)[0]) == {0, 1}


def test_batches_depend_on_their_key_alone(store: PatchStore) -> None:
    sampler = BalancedSampler(store, SIZE)
    first = sampler.batch(8, 0, 1, 2)
    sampler.batch(8, 0, 1, 3)
    again = BalancedSampler(store, SIZE).batch(8, 0, 1, 2)
    assert (first.images == again.images).all()
    assert (first.masks == again.masks).all()
    assert (first.images != sampler.batch(8, 0, 1, 3).images).any()


def test_pixels_and_masks_of_a_patch_belong_together(store: PatchStore) -> None:
    places = np.array([0, 2]), np.array([30, 50]), np.array([40, 33])
    batch = store.extract_patches(*places, SIZE)
    for patch, (number, row, col) in enumerate(zip(*places, strict=True)):
        window = np.s_[row : row + SIZE, col : col + SIZE]
        assert (batch.images[patch] == store[number].pixels[window]).all()
        assert (batch.masks[patch] == store[number].bits[window]).all()
        for k in range(2):
            assert (batch.planes()[patch, k] == (store[number].bits[window] >> k & 1)).all()
    assert batch.annotated.tolist() == [[True, True], [True, False]]


def test_centres_lie_near_lesions_of_the_class_drawn(store: PatchStore) -> None:
    sampler = LesionCentredSampler(store, 32, class_shares={"MA": 0.5, "EX": 0.5}, jitter=0.25)
    batch = sampler.batch(400, 0)
    seen = batch.planes().any(axis=(2, 3))
    assert seen.any(axis=1).all()
    assert seen[:, 0].mean() > 0.4
    assert seen[:, 1].mean() > 0.4


def test_the_share_of_an_absent_class_goes_to_the_others(store: PatchStore) -> None:
    empty = PatchStore([store[2]], ["MA", "EX"])
    sampler = LesionCentredSampler(empty, 32, class_shares={"MA": 0.3, "EX": 0.6})
    assert sampler.counts["EX"] == 0
    near = sampler.batch(1000, 0).masks.any(axis=(1, 2)).mean()
    assert near > 0.85


def test_patches_drawn_anywhere_stay_within_the_image(store: PatchStore) -> None:
    sampler = LesionCentredSampler(store, 64, class_shares={})
    images, rows, cols = sampler.positions(np.random.default_rng(0), 500)
    for number, row, col in zip(images, rows, cols, strict=True):
        height, width = store[number].bits.shape
        assert 0 <= row <= height - 64
        assert 0 <= col <= width - 64


def test_images_smaller_than_a_patch_are_padded_or_refused(store: PatchStore) -> None:
    with pytest.raises(TrainingError, match="minimum_side=128"):
        BalancedSampler(store, 128)
    padded = PatchStore(list(store), ["MA", "EX"], minimum_side=128)
    assert (
        LesionCentredSampler(padded, 128, class_shares={"MA": 1}).batch(4, 0).images.shape[1] == 128
    )


def test_data_without_any_lesion_are_refused(store: PatchStore) -> None:
    with pytest.raises(TrainingError, match="No patch holds a lesion"):
        BalancedSampler(PatchStore([store[1]], ["MA", "EX"]), SIZE)


@pytest.mark.parametrize("shares", [{"MA": 0.7, "EX": 0.7}, {"HE": 0.1}, {"MA": -0.1}])
def test_impossible_shares_are_refused(store: PatchStore, shares: dict[str, float]) -> None:
    with pytest.raises(TrainingError):
        LesionCentredSampler(store, 32, class_shares=shares)


@pytest.mark.parametrize("kind", ["balanced", "centre"])
def test_no_patch_is_centred_outside_the_reviewed_region(kind) -> None:
    shape = (90, 100)
    unknown = np.zeros(shape, np.bool_)
    unknown[:, 50:] = True
    masks = [blob(shape, 40, 30, 3) | blob(shape, 40, 70, 3), blob(shape, 20, 44, 12)]
    image = replace(stored(0, masks), unknown=unknown)
    store = PatchStore([image], ["MA", "EX"])
    if kind == "balanced":
        sampler = BalancedSampler(store, SIZE)
        _, _, cols = sampler.positions(np.random.default_rng(0), 500)
        assert (cols + SIZE // 2 < 50).all()
    else:
        shares = {"MA": 0.5, "EX": 0.3}
        sampler = LesionCentredSampler(store, SIZE, class_shares=shares, jitter=0)
        _, _, cols = sampler.positions(np.random.default_rng(0), 500)
        assert (cols + SIZE // 2 < 50).all()
    batch = sampler.batch(64, 1)
    assert batch.unknown is not None
    assert batch.unknown.any()
    assert not batch.unknown.all(axis=(1, 2)).any()


def test_a_store_without_regions_carries_none(store) -> None:
    assert BalancedSampler(store, SIZE).batch(4, 1).unknown is None


def test_lesions_are_drawn_by_the_power_of_their_area() -> None:
    first, second = np.zeros((2, 40, 60), np.bool_)
    first[:20, :20] = True  # 400 px
    second[5:7, 5:7] = second[30, 50] = True  # 4 px and 1 px
    for power, expected in ((0, (1, 1, 1)), (0.5, (20, 2, 1)), (1, (400, 4, 1))):
        found = LesionPixelSampler([first, second], power=power)
        assert (found.lesions, len(found)) == (3, 405)
        images, rows, cols = found.draw(np.random.default_rng(0), 60_000)
        assert np.stack([first, second])[images, rows, cols].all()
        shares = np.array([(images == 0).mean(), ((images == 1) & (rows < 9)).mean()])
        np.testing.assert_allclose(shares, np.array(expected[:2]) / sum(expected), atol=0.01)
    assert not len(LesionPixelSampler([np.zeros((4, 4), np.bool_)]))
