"""What a network takes of memory, and the size that is halved until it fits."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from napari_fundus.errors import DeviceError
from napari_fundus.inference.detect_objects import _estimate_memory
from napari_fundus.inference.memory import (
    bytes_per_pixel,
    fit_tile_size,
    layer_bytes,
    run_halving_on_out_of_memory,
)
from napari_fundus.runtime.devices import CPU


def run(fits: int, size: int, *, least: int = 1) -> tuple[list[int], tuple[str, int]]:
    """Return the sizes tried, and the outcome, where no size above `fits` finds memory."""
    tried: list[int] = []

    def work(size: int) -> str:
        tried.append(size)
        if size > fits:
            raise torch.OutOfMemoryError("too large")
        return f"done with {size}"

    return tried, run_halving_on_out_of_memory(
        work, size, least=least, what="batch size", device=CPU
    )


def test_the_size_is_halved_until_it_fits_and_no_further(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        tried, outcome = run(3, 13)
    assert tried == [13, 6, 3]
    assert outcome == ("done with 3", 3)
    assert [record.getMessage().split()[-1] for record in caplog.records] == ["6.", "3."]


def test_what_fits_at_once_runs_once() -> None:
    assert run(8, 8) == ([8], ("done with 8", 8))


@pytest.mark.parametrize(
    ("size", "least", "tried"), [(9, 1, [9, 4, 2, 1]), (100, 32, [100, 50, 32])]
)
def test_the_smallest_size_is_tried_before_it_is_an_error(size, least, tried) -> None:
    assert run(least, size, least=least)[0] == tried
    with pytest.raises(DeviceError, match=f"CPU has too little memory even for a .* of {least}"):
        run(least - 1, size, least=least)


def test_an_error_of_another_kind_passes() -> None:
    def work(size: int) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        run_halving_on_out_of_memory(work, 4, least=1, what="batch size", device=CPU)


def test_layers_apart_are_counted_by_themselves_and_hooks_are_removed() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 2, 1), nn.ReLU(inplace=True), nn.Identity(), nn.Conv2d(2, 3, 1)
    )
    piece = torch.zeros(1, 1, 8, 8)
    assert layer_bytes(network, piece) == (4 * 64 * (2 + 3), 0)
    assert layer_bytes(network, piece, separate={network[3]}) == (4 * 64 * 2, 4 * 64 * 3)
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (None, 152),  # (√(120,000 / 4) - 2 · 10) rounded down to a multiple of 8
        ((100, 300), 512),
        ((300, 100), 512),
        ((101, 300), 152),
        ((30, 32), 512),
    ],
)
def test_the_side_of_a_tile_is_the_largest_that_fits(shape, expected) -> None:
    sides = {"tile": 512, "halo": 10, "multiple": 8}
    assert fit_tile_size(4 * 100 * 300, 4, shape=shape, **sides) == expected


def test_a_side_is_no_less_than_halo_and_multiple_and_a_small_picture_is_not_cut() -> None:
    assert fit_tile_size(1, 4, tile=512, halo=10, multiple=8) == 16
    assert fit_tile_size(1, 4, tile=512, halo=3, multiple=32, shape=(64, 64)) == 512
    assert fit_tile_size(1, 4, tile=512, halo=3, multiple=32, shape=(65, 64)) == 32
    assert fit_tile_size(10**9, 4, tile=512, halo=10, multiple=8) == 512


def test_of_a_network_without_layers_a_pixel_takes_its_planes() -> None:
    class Nothing(nn.Module):
        def forward(self, images):
            return images

    assert _estimate_memory(Nothing(), 3, CPU) == (0, 12.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bytes_for_a_pixel_are_those_of_the_input_and_of_each_layer(dtype: torch.dtype) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 5, 1, stride=2)).to(dtype)
    taken = bytes_per_pixel(network, 3, 8, dtype=dtype)
    assert taken == dtype.itemsize * (3 + 2 + 5 / 4)
