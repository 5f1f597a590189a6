"""Tiles with a halo: the same maps as one pass over the whole, wherever the seams lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from napari_fundus.backends.unet.network import UNetArchitecture, build_network
from napari_fundus.errors import Cancelled, DeviceError
from napari_fundus.inference.tiles import iter_tiles, run_tiles
from napari_fundus.runtime.progress import Monitor, Progress


@pytest.fixture(scope="module")
def unet() -> tuple[nn.Module, UNetArchitecture]:
    """Return a small network whose normalizations have seen something."""
    architecture = UNetArchitecture(filters=(4, 6, 8), stem=2, outputs=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network(architecture)
        nn.init.normal_(network.head.weight, std=0.5)
        network.train()
        with torch.no_grad():
            network(torch.randn(4, 3, 64, 64))
    return network.eval(), architecture


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(3, 197, 250)).astype(np.float32)


@pytest.mark.parametrize("tile", [32, 40, 96])
def test_tiled_is_whole(unet, picture, tile) -> None:
    network, architecture = unet
    given = {"outputs": 2, "multiple": architecture.multiple, "halo": architecture.reach}
    whole = run_tiles(network, picture, tile=1024, **given)
    tiled = run_tiles(network, picture, tile=tile, **given)
    assert whole.tiles == 1
    assert tiled.tiles > 4
    np.testing.assert_allclose(tiled.maps, whole.maps, atol=1e-4)
    assert whole.maps.std() > 0.01


def test_without_a_halo_seams_show(unet, picture) -> None:
    network, architecture = unet
    given = {"outputs": 2, "multiple": architecture.multiple}
    whole = run_tiles(network, picture, tile=1024, halo=0, **given)
    tiled = run_tiles(network, picture, tile=32, halo=0, **given)
    assert np.abs(tiled.maps - whole.maps).max() > 1e-3


def test_one_pass_is_what_the_network_says(unet, picture) -> None:
    network, architecture = unet
    cut = np.ascontiguousarray(picture[:, :192, :248])
    with torch.inference_mode():
        expected = network(torch.from_numpy(cut)[None])[0].numpy()
    given = {"outputs": 2, "multiple": architecture.multiple, "precision": "float32"}
    found = run_tiles(network, cut, tile=512, halo=0, **given)
    np.testing.assert_allclose(found.maps, expected, atol=1e-4)


@pytest.mark.parametrize(("tile", "halo"), [(32, 0), (48, 8), (100, 13), (1000, 40)])
def test_windows_keep_every_pixel_once_and_start_where_poolings_do(tile, halo) -> None:
    count = np.zeros((96, 160), int)
    for window in iter_tiles((96, 160), tile=tile, halo=halo, multiple=8):
        count[window.output_region] += 1
        for kept, seen in zip(window.output_region, window.input_region, strict=True):
            assert seen.start % 8 == 0
            assert (seen.stop - seen.start) % 8 == 0
            assert seen.start <= max(kept.start - halo, 0)
        assert count[window.input_region][window.crop].shape == count[window.output_region].shape
    assert (count == 1).all()


def test_tiles_off_the_field_of_view_are_left_out(unet, picture) -> None:
    network, architecture = unet
    inside = np.zeros(picture.shape[1:], bool)
    inside[:20, :20] = True
    found = run_tiles(
        network, picture, outputs=2, tile=64, halo=8, multiple=architecture.multiple, inside=inside
    )
    assert found.tiles == 1
    assert not found.maps[:, 64:].any()


def test_cancelling_is_heeded_within_a_tile(unet, picture) -> None:
    network, architecture = unet
    monitor, seen = Monitor(), []
    first, last = network.down[0], network.head
    handles = [
        first.register_forward_hook(lambda *_: monitor.cancel()),
        last.register_forward_hook(lambda *_: seen.append("the last layer")),
    ]
    try:
        with pytest.raises(Cancelled):
            run_tiles(
                network,
                picture,
                outputs=2,
                tile=1024,
                halo=8,
                multiple=architecture.multiple,
                monitor=monitor,
            )
    finally:
        for handle in handles:
            handle.remove()
    assert not seen
    assert not first._forward_pre_hooks, "nothing stays behind"


def test_a_run_is_cancelled_between_two_tiles(unet, picture) -> None:
    network, architecture = unet
    seen: list[Progress] = []
    monitor = Monitor(lambda progress: (seen.append(progress), monitor.cancel()))
    with pytest.raises(Cancelled):
        run_tiles(
            network,
            picture,
            outputs=2,
            tile=32,
            halo=8,
            multiple=architecture.multiple,
            monitor=monitor,
        )
    assert len(seen) == 1


def test_tiles_are_halved_where_memory_runs_out(unet, picture) -> None:
    network, architecture = unet

    class Greedy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[-1] > 100:
                raise torch.OutOfMemoryError("too large")
            return network(x)

    given = {"outputs": 2, "multiple": architecture.multiple, "halo": 8}
    found = run_tiles(Greedy(), picture, tile=256, **given)
    assert found.tile == 64
    np.testing.assert_allclose(found.maps, run_tiles(network, picture, tile=64, **given).maps)


def test_memory_that_never_suffices_is_an_error(picture) -> None:
    class Never(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("too large")

    with pytest.raises(DeviceError, match="too little memory even for a tile size of 8"):
        run_tiles(Never(), picture, outputs=1, tile=256, halo=0, multiple=8)
