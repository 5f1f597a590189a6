"""Sliding a patch classifier over suspect pixels: against the plain loop, at edges, cancelled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from napari_fundus.errors import Cancelled
from napari_fundus.inference.sliding_window import (
    run_patches,
    run_sliding_window,
    suspect_patch_centres,
)
from napari_fundus.runtime.progress import Monitor


class _Weighted(nn.Module):
    """A linear answer that depends on where in the patch a value is."""

    def __init__(self, patch: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.randn(1, patch, patch))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return (patches * self.weight).sum(dim=(1, 2, 3))


def _picture(height: int = 20, width: int = 24) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, height, width)).astype(np.float32)


def test_every_suspect_pixel_is_judged_as_the_plain_loop_says() -> None:
    picture, patch = _picture(), 5
    suspect = np.random.default_rng(1).random((20, 24)) > 0.7
    suspect[0, 0] = suspect[-1, -1] = True
    network = _Weighted(patch)
    found = run_sliding_window(network, picture, suspect, patch=patch, batch=7, fill=0.5)
    padded = np.pad(picture, ((0, 0), (2, 2), (2, 2)), constant_values=0.5)
    weight = network.weight.detach().numpy()
    expected = np.zeros((20, 24))
    for row, col in np.argwhere(suspect):
        logit = (padded[:, row : row + patch, col : col + patch] * weight).sum()
        expected[row, col] = 1 / (1 + np.exp(-logit))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("stride", [2, 3, 8])
def test_a_grid_looks_once_a_cell_and_answers_at_suspect_pixels_only(stride) -> None:
    suspect = np.zeros((20, 24), np.bool_)
    suspect[3:9, 4:7] = suspect[19, 23] = True
    centres = suspect_patch_centres(suspect, stride)
    cells = {(r // stride, c // stride) for r, c in np.argwhere(suspect)}
    assert {(r // stride, c // stride) for r, c in centres} == cells
    assert (centres < (20, 24)).all()

    class _Sure(nn.Module):
        def forward(self, patches: torch.Tensor) -> torch.Tensor:
            return torch.full((len(patches),), 2.0)

    found = run_sliding_window(_Sure(), _picture(), suspect, patch=3, stride=stride)
    # What is the same everywhere stays so: cells not looked at have no say.
    np.testing.assert_allclose(found[suspect], 1 / (1 + np.exp(-2)), rtol=1e-5)
    assert not found[~suspect].any()


def test_nothing_suspect_runs_nothing() -> None:
    class _Fails(nn.Module):
        def forward(self, patches: torch.Tensor) -> torch.Tensor:
            raise AssertionError

    assert not run_sliding_window(_Fails(), _picture(), np.zeros((20, 24), np.bool_), patch=3).any()


def test_lack_of_memory_halves_the_batch_and_changes_nothing() -> None:
    sizes: list[int] = []

    class _Small(_Weighted):
        def forward(self, patches: torch.Tensor) -> torch.Tensor:
            sizes.append(len(patches))
            if len(patches) > 4:
                raise torch.OutOfMemoryError
            return super().forward(patches)

    # 37 patches: the last one is a batch of its own once four run together.
    centres = np.argwhere(np.ones((20, 24)))[:37]
    little = run_patches(_Small(3), _picture(), centres, patch=3, batch=16)
    assert len(little) == len(centres)
    much = run_patches(_Weighted(3), _picture(), centres, patch=3, batch=64)
    np.testing.assert_allclose(little, much, atol=1e-6)
    assert max(sizes) > 4 >= sizes[-1]


def test_cores_side_by_side_give_what_one_gives_in_the_same_order() -> None:
    centres = np.argwhere(np.ones((6, 6)))
    before = torch.get_num_threads()
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            found.append(run_patches(_Weighted(3), _picture(), centres, patch=3, batch=7))
        finally:
            torch.set_num_threads(before)
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    assert len(np.unique(found[0])) > 10


def test_cancelling_stops_within_a_batch() -> None:
    monitor = Monitor(lambda progress: monitor.cancel() if progress.fraction > 0.3 else None)
    seen: list[int] = []

    class _Counting(_Weighted):
        def forward(self, patches: torch.Tensor) -> torch.Tensor:
            seen.append(len(patches))
            return super().forward(patches)

    with pytest.raises(Cancelled):
        run_patches(
            _Counting(3),
            _picture(),
            np.argwhere(np.ones((6, 6))),
            patch=3,
            batch=4,
            monitor=monitor,
        )
    assert sum(seen) < 24
