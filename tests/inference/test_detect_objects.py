"""Objects over a whole picture: tiled like whole, each lesion once, in little memory."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from napari_fundus.errors import Cancelled
from napari_fundus.inference.detect_objects import (
    TiledObjects,
    _estimate_memory,
    object_tiles,
    objects_to_original,
    paste_mask,
    run_objects,
)
from napari_fundus.inference.merge_tiles import TileObject, merge_tile_objects
from napari_fundus.preprocessing.fov_circle import FovCircle
from napari_fundus.preprocessing.geometry import Geometry
from napari_fundus.results.objects import LesionObject, objects_of_mask
from napari_fundus.runtime.devices import CPU
from napari_fundus.runtime.preferences import Preferences
from napari_fundus.runtime.progress import Monitor

LESIONS = ("MA", "EX")
CELLS = 28


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.second = nn.Identity()

    def forward(self, picture: Tensor) -> Tensor:
        seen: Tensor = self.second(self.first(picture[None]))
        return seen


class Seer(nn.Module):
    """Finds every spot of a picture: label 1 where it is 1, label 2 where it is 2.

    Of larger spots it is surer, as a network is less sure of what it sees in part.
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.heads = nn.Identity()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, pictures: list[Tensor]) -> list[dict[str, Tensor]]:
        (picture,) = pictures
        self.seen.append(tuple(picture.shape))
        self.backbone(picture)
        self.heads(picture)
        boxes, labels, scores, masks = [], [], [], []
        values = picture[0].numpy()
        for label in (1, 2):
            for spot in objects_of_mask(values == label, lesion=""):
                height, width = spot.mask.shape
                boxes.append((spot.col, spot.row, spot.col + width, spot.row + height))
                labels.append(label)
                scores.append(0.5 + 0.4 * min(spot.mask.sum() / 10_000, 1))
                masks.append(_in_cells(spot.mask))
        return [
            {
                "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                "labels": torch.tensor(labels, dtype=torch.int64),
                "scores": torch.tensor(scores, dtype=torch.float32),
                "masks": torch.from_numpy(np.array(masks, np.float32).reshape(-1, 1, CELLS, CELLS)),
            }
        ]


def _in_cells(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    grown: Any = cv2.resize(mask.astype(np.float32), (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    return np.asarray(grown, np.float32)


def spots(
    shape: tuple[int, int], *boxes: tuple[int, int, int, int, int]
) -> npt.NDArray[np.float32]:
    """Return a picture with ellipses: row, column, height, width and label of each."""
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    picture = np.zeros((1, *shape), np.float32)
    for row, col, height, width, label in boxes:
        away = ((rows - row - height / 2 + 0.5) / height) ** 2
        away = away + ((cols - col - width / 2 + 0.5) / width) ** 2
        picture[0, away <= 0.25] = label
    return picture


def run(picture: npt.NDArray[np.float32], **settings: Any) -> TiledObjects:
    given = {"tile": 128, "overlap": 32, **settings}
    return run_objects(given.pop("network", Seer()), picture, lesions=LESIONS, **given)


def overlap_of(found: LesionObject, mask: npt.NDArray[np.bool_]) -> float:
    painted = np.zeros(mask.shape, bool)
    painted[found.window] = found.mask
    return float((painted & mask).sum() / (painted | mask).sum())


@pytest.mark.parametrize(
    ("spot", "why"),
    [
        ((60, 122, 12, 12), "exactly on a seam, smaller than the overlap"),
        ((121, 121, 14, 14), "on a crossing of four tiles"),
        ((90, 90, 60, 60), "on a crossing of four tiles, larger than the overlap"),
        ((20, 60, 20, 130), "longer than the overlap"),
        ((96, 20, 20, 280), "over three tiles and longer than any"),
        ((50, 76, 20, 20), "touching a tile's border from within"),
        ((50, 108, 20, 20), "touching the end of a tile"),
        ((0, 118, 20, 20), "at the picture's edge and on a seam"),
    ],
)
def test_a_lesion_on_a_seam_comes_back_once_and_whole(
    spot: tuple[int, int, int, int], why: str
) -> None:
    picture = spots((320, 320), (*spot, 1))
    result = run(picture)
    assert result.tiles == 9
    assert len(result.objects) == 1, why
    assert overlap_of(result.objects[0], picture[0] > 0) >= 0.93, why


@pytest.mark.parametrize("where", range(80, 140, 3))
def test_a_lesion_is_found_once_wherever_it_lies(where: int) -> None:
    picture = spots((240, 240), (where, where, 17, 23, 2))
    (found,) = run(picture).objects
    assert overlap_of(found, picture[0] > 0) >= 0.93
    assert found.lesion == "EX"


def test_tiles_that_do_not_overlap_put_cut_lesions_together() -> None:
    picture = spots((256, 256), (100, 100, 60, 60, 1), (10, 120, 16, 16, 2))
    result = run(picture, overlap=0)
    assert [x.lesion for x in sorted(result.objects, key=lambda o: o.row)] == ["EX", "MA"]
    assert all(
        overlap_of(x, picture[0] == LESIONS.index(x.lesion) + 1) >= 0.93 for x in result.objects
    )


def test_lesions_of_two_classes_on_one_seam_stay_two() -> None:
    picture = spots((200, 220), (60, 100, 20, 14, 1), (60, 114, 20, 14, 2))
    assert sorted(x.lesion for x in run(picture).objects) == ["EX", "MA"]


def test_two_neighbours_on_a_seam_stay_two() -> None:
    picture = spots((200, 220), (60, 98, 20, 12, 1), (60, 112, 20, 12, 1))
    assert len(run(picture).objects) == 2


def test_tiled_gives_what_one_piece_gives() -> None:
    rng = np.random.default_rng(3)
    places = [(20 + 40 * (n // 8), 20 + 40 * (n % 8)) for n in range(56)]
    drawn = [
        (r + int(a), c + int(b), 9, 9 + int(wide), 1 + r // 40 % 2)
        for (r, c), a, b, wide in zip(places, *rng.integers(0, 8, (3, 56)), strict=True)
    ]
    picture = spots((320, 360), *drawn)
    whole, tiled = run(picture, tile=1024), run(picture)
    assert (whole.tiles, tiled.tiles) == (1, 12)
    assert len(whole.objects) == len(tiled.objects) == 56
    key = lambda o: (o.row, o.col)  # noqa: E731
    for one, other in zip(*(sorted(r.objects, key=key) for r in (whole, tiled)), strict=True):
        assert one.lesion == other.lesion
        assert (one.row, one.col, one.mask.tolist()) == (other.row, other.col, other.mask.tolist())


def test_a_part_that_a_neighbour_saw_whole_is_dropped_even_where_it_is_surer() -> None:
    whole = LesionObject("MA", 0.5, 10, 90, np.ones((10, 20), bool))
    cut = LesionObject("MA", 0.9, 10, 90, np.ones((10, 10), bool))
    tiles = [(0, 0, 100, 100), (0, 80, 100, 180)]
    assert merge_tile_objects(
        [TileObject(cut, 0, truncated=True), TileObject(whole, 1, truncated=False)], tiles
    ) == [whole]


def test_a_cut_part_that_no_neighbour_confirms_is_kept() -> None:
    cut = LesionObject("MA", 0.9, 10, 90, np.ones((10, 10), bool))
    assert merge_tile_objects(
        [TileObject(cut, 0, truncated=True)], [(0, 0, 100, 100), (0, 80, 100, 180)]
    ) == [cut]


def test_of_two_views_of_one_lesion_the_surer_one_stays() -> None:
    one = LesionObject("MA", 0.6, 10, 90, np.ones((10, 10), bool))
    other = LesionObject("MA", 0.7, 11, 91, np.ones((10, 10), bool))
    tiles = [(0, 0, 100, 120), (0, 80, 100, 180)]
    parts = [TileObject(one, 0, truncated=False), TileObject(other, 1, truncated=False)]
    assert merge_tile_objects(parts, tiles) == [other]
    assert len(merge_tile_objects([parts[0], TileObject(other, 0, truncated=False)], tiles)) == 2


def test_neither_dark_tiles_nor_objects_outside_the_field_of_view_count() -> None:
    picture = spots((400, 400), (20, 20, 16, 16, 1), (200, 200, 16, 16, 1))
    rows, cols = np.mgrid[:400, :400]
    network = Seer()
    inside = np.hypot(rows - 200, cols - 200) < 80
    result = run(picture, network=network, inside=inside)
    assert result.tiles == len(network.seen) < len(object_tiles((400, 400), tile=128, overlap=32))
    assert [(x.row, x.col) for x in result.objects] == [(200, 200)]


def test_less_sure_objects_are_left_out() -> None:
    picture = spots((100, 100), (20, 20, 16, 16, 1))
    assert not run(picture, least_score=0.6).objects


@pytest.mark.parametrize("at", ["tile 1 of 4", "tile 3 of 4"])
def test_cancelling_is_heeded_within_a_tile(at: str) -> None:
    """Cancels while the first layer of a tile runs: its next one does not."""
    network, monitor = Seer(), Monitor()
    ran: list[int] = []
    tile = int(at.split()[1])

    def cancel(*_: Any) -> None:
        if len(network.seen) == tile:
            monitor.cancel()

    network.backbone.first.register_forward_hook(cancel)
    network.backbone.second.register_forward_hook(lambda *_: ran.append(1))
    with pytest.raises(Cancelled):
        run(np.zeros((1, 200, 200), np.float32), network=network, monitor=monitor)
    assert len(ran) == tile - 1 == len(network.seen) - 1
    count = sum(len(module._forward_pre_hooks) for module in network.modules())
    assert count == 0


def test_progress_moves_on_within_a_tile_and_never_back() -> None:
    told: list[float] = []
    run(np.zeros((1, 100, 100), np.float32), monitor=Monitor(lambda p: told.append(p.fraction)))
    assert told == sorted(told)
    assert len(set(told)) >= 4
    assert told[-1] == 1


def test_tiles_shrink_where_memory_runs_out() -> None:
    class Small(Seer):
        def forward(self, pictures: list[Tensor]) -> list[dict[str, Tensor]]:
            if max(pictures[0].shape) > 64:
                raise torch.OutOfMemoryError
            return super().forward(pictures)

    picture = spots((150, 150), (50, 50, 16, 16, 1))
    result = run(picture, network=Small())
    assert result.tile == 64
    assert len(result.objects) == 1


def test_tiles_keep_within_the_memory_that_a_person_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "napari_fundus.inference.memory.preferences", lambda: Preferences(memory_gb=0.0005)
    )
    picture = spots((400, 400), (50, 50, 16, 16, 1))
    network = Seer()
    result = run(picture, network=network, tile=400)
    assert 64 <= result.tile < 400
    # Four planes of the first layer, and the picture; the other layers do nothing.
    assert max(shape[1] * shape[2] for shape in network.seen[1:]) * 5 * 4 <= 0.0005 * 2**30
    assert len(result.objects) == 1


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(64, 1024), st.integers(0, 32))
def test_tiles_cover_the_picture_and_overlap(h: int, w: int, tile: int, overlap: int) -> None:
    tiles = object_tiles((h, w), tile=tile, overlap=overlap)
    for axis, length in ((0, h), (1, w)):
        spans = sorted({(t[axis], t[axis + 2]) for t in tiles})
        assert spans[0][0] == 0
        assert spans[-1][1] == length
        assert all(stop - start <= tile for start, stop in spans)
        for (_, stop), (start, _) in pairwise(spans):
            assert stop - start >= overlap


def test_a_pasted_mask_is_the_one_that_was_put_into_cells() -> None:
    mask = spots((60, 80), (10, 20, 31, 44, 1))[0] > 0
    (spot,) = objects_of_mask(mask, lesion="")
    box = (spot.col, spot.row, spot.col + spot.mask.shape[1], spot.row + spot.mask.shape[0])
    pasted = paste_mask(_in_cells(spot.mask), box, mask.shape)
    assert pasted is not None
    assert overlap_of(LesionObject("", 1, *pasted), mask) >= 0.97


def test_a_mask_that_reaches_over_the_border_is_cut_and_a_faint_one_keeps_its_best_pixels() -> None:
    full = np.ones((CELLS, CELLS), np.float32)
    pasted = paste_mask(full, (-5, -5, 10, 10), (20, 20))
    assert pasted is not None
    assert (pasted[0], pasted[1], pasted[2].shape) == (0, 0, (10, 10))
    faint = np.zeros((CELLS, CELLS), np.float32)
    faint[14, 14] = 0.2
    pasted = paste_mask(faint, (0, 0, 28, 28), (28, 28))
    assert pasted is not None
    assert (pasted[0], pasted[1], pasted[2].sum()) == (14, 14, 1)
    assert paste_mask(np.zeros((CELLS, CELLS), np.float32), (0, 0, 9, 9), (20, 20)) is None
    assert paste_mask(full, (30, 0, 40, 9), (20, 20)) is None
    assert paste_mask(full, (5, 5, 5, 9), (20, 20)) is None


@pytest.mark.parametrize(("row_scale", "col_scale"), [(0.5, 0.5), (0.37, 0.9), (1, 1), (2, 1.6)])
def test_objects_go_back_as_their_mask_would(row_scale: float, col_scale: float) -> None:
    """Compares with the whole picture warped back, away from the frame's edges."""
    shape = 240, 300
    geometry = Geometry.identity(shape).crop((-10, 14, 230, 290))
    height, width = geometry.target_shape
    geometry = geometry.resize((round(height * row_scale), round(width * col_scale)))
    mask = spots(geometry.target_shape, *(
        (round(r * row_scale), round(c * col_scale), 25, 31, 1) for r, c in ((40, 40), (150, 190))
    ))[0] > 0  # fmt: skip
    objects = objects_to_original(objects_of_mask(mask, lesion="MA"), geometry)
    whole = geometry.inverse_image(mask.astype(np.float32)) >= 0.5
    painted = np.zeros(shape, bool)
    for found in objects:
        painted[found.window] |= found.mask
    assert len(objects) == 2
    assert (painted != whole).sum() <= 0.005 * whole.sum()


def test_no_object_is_lost_for_being_small_in_the_original() -> None:
    geometry = Geometry.identity((100, 100)).rescale(4)
    speck = LesionObject("MA", 0.5, 201, 201, np.ones((1, 1), bool))
    (back,) = objects_to_original([speck], geometry)
    assert (back.row, back.col, back.mask.sum()) == (50, 50, 1)


def test_objects_beyond_the_frame_are_left_out() -> None:
    geometry = Geometry.identity((100, 200)).complete(FovCircle(50, 100, 80))
    beyond = LesionObject("MA", 0.5, 2, 80, np.ones((3, 3), bool))
    within = LesionObject("MA", 0.5, 80, 80, np.ones((3, 3), bool))
    assert len(objects_to_original([beyond, within], geometry)) == 1


def test_500_lesions_on_12_megapixels_take_little_memory() -> None:
    """Counts what NumPy takes; a map for each lesion would be 6 GB as bool alone."""
    rng = np.random.default_rng(0)
    picture = np.zeros((1, 3000, 4000), np.float32)
    for number in range(500):
        row, col = 30 + 118 * (number // 20), 30 + 198 * (number % 20)
        height, width = rng.integers(20, 80, 2)
        picture[0, row : row + height, col : col + width] = 1
    tracemalloc.start()
    result = run(picture, tile=1024, overlap=128)
    objects = objects_to_original(result.objects, Geometry.identity((3000, 4000)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(objects) == 500
    print(f"peak {peak / 2**20:.0f} MiB beside the picture")
    assert peak <= 150 * 2**20


class ByRegion(nn.Module):
    """Looks at ten regions if all that reach `score_thresh` are wanted, else at one."""

    def __init__(self) -> None:
        super().__init__()
        self.score_thresh = 0.05
        self.look = nn.Linear(4, 5)

    def forward(self, values: Tensor) -> Tensor:
        return self.look(torch.zeros(10 if self.score_thresh < 0 else 1, 4))


class WithRegions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 2, 1)
        self.roi_heads = ByRegion()

    def forward(self, pieces: list[Tensor]) -> Tensor:
        return self.roi_heads(self.first(pieces[0][None]))


def test_memory_is_that_of_all_regions_and_that_of_input_and_layers_for_each_pixel() -> None:
    network = WithRegions()
    assert _estimate_memory(network, 3, CPU) == (4 * 10 * 5, 4 * (3 + 2))
    assert network.roi_heads.score_thresh == 0.05
