"""Overlapping tiles against MONAI's sliding window: same network, windows and steps, in one run.

Usage: ``python -m benchmarks.tiles [--device cuda] [--tile 512] [--size 1750] …``
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
import torch
from monai.inferers.inferer import SlidingWindowInferer
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.peers import TimedRun, time_interleaved
from napari_fundus.backends.unet.network import UNetArchitecture, build_network
from napari_fundus.image import read_image
from napari_fundus.inference.tiles import run_tiles
from napari_fundus.preprocessing import Recipe
from napari_fundus.preprocessing.network_input import INPUT_FILL, to_network_input
from napari_fundus.runtime.devices import Device, choose_device
from napari_fundus.samples import sample_image_path

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]


def main() -> None:
    """Run the comparison and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", type=int, default=1750, help="disc diameter of the picture, px")
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    device = choose_device(arguments.device, supported=("cpu", "cuda", "mps"))
    contestants, compared = build_runs(size=arguments.size, tile=arguments.tile, device=device)
    time_interleaved(contestants, device, arguments.repeats)
    print(
        f"{device.title}, {torch.get_num_threads()} threads; picture {compared.shape[1]}x"
        f"{compared.shape[0]} px, tiles of {arguments.tile} px; plain U-Net, float32\n"
    )
    print("| engine | seconds | times MONAI | processor s | times MONAI | peak MiB | off whole |")
    print("|---|---|---|---|---|---|---|")
    first, reference = contestants[0], contestants[-1].result
    for contestant in contestants:
        off = np.abs(contestant.result - reference)[compared].max()
        print(
            f"| {contestant.title} | {min(contestant.seconds):.2f} | "
            f"{min(first.seconds) / min(contestant.seconds):.2f} | {min(contestant.busy):.2f} | "
            f"{min(first.busy) / min(contestant.busy):.2f} | {contestant.memory:.0f} | {off:.1e} |"
        )


def build_runs(*, size: int, tile: int, device: Device) -> tuple[list[TimedRun], Bool]:
    """Return who competes, and the pixels in which their maps are compared.

    Parameters
    ----------
    size
        Diameter of the disc in the picture, px.
    tile
        Side of the tiles without halo, px; rounded up as the network needs it.
    device
        Where to compute.

    Returns
    -------
    contestants
        MONAI's sliding window, ours over the whole frame, ours over the field of view, and one
        pass over the whole, which needs no tiles. Each gives a map, float32 (H, W).
    compared
        bool, shape (H, W): the field of view, less what lies so near to the frame that MONAI's
        padding shows.
    """
    torch.manual_seed(0)
    architecture = UNetArchitecture(filters=(16, 32, 64, 96), outputs=1)
    network = nn.Sequential(build_network(architecture), nn.Sigmoid()).eval()
    multiple = architecture.multiple
    tile = -(-tile // multiple) * multiple
    halo = -(-architecture.reach // multiple) * multiple
    picture, inside = _picture(size, tile)
    _fit_batchnorm(network, picture)
    network = network.to(device.name, memory_format=torch.channels_last)  # type: ignore[call-overload]
    window = tile + 2 * halo
    inferer = SlidingWindowInferer(window, 1, overlap=2 * halo / window)

    def monai() -> Float:
        # Its windows stay within the picture: padded by the halo, they step as ours do.
        more = ((0, 0), (halo, halo), (halo, halo))
        padded = np.pad(picture, more, constant_values=INPUT_FILL)[np.newaxis]
        with torch.inference_mode():
            whole = torch.from_numpy(padded).to(device.name, memory_format=torch.channels_last)
            result = cast("torch.Tensor", inferer(whole, network))
        kept: Float = result[0, 0, halo:-halo, halo:-halo].cpu().numpy()
        return kept

    def ours(mask: Bool) -> Callable[[], Float]:
        def run() -> Float:
            done = run_tiles(
                network,
                picture,
                outputs=1,
                tile=tile,
                halo=halo,
                multiple=multiple,
                inside=mask,
                fill=INPUT_FILL,
                device=device,
                precision="float32",
            )
            found: Float = done.maps[0]
            return found

        return run

    def whole() -> Float:
        with torch.inference_mode():
            batch = torch.from_numpy(picture[np.newaxis]).to(
                device.name, memory_format=torch.channels_last
            )
            found: Float = network(batch)[0, 0].cpu().numpy()
        return found

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *picture.shape, device=device.name))
    operations = float(counter.get_total_flops())
    compared = np.zeros_like(inside)
    inner = np.s_[halo:-halo, halo:-halo]
    compared[inner] = inside[inner]
    return [
        TimedRun("MONAI, sliding window", monai, operations),
        TimedRun("ours, whole frame", ours(np.ones_like(inside)), operations),
        TimedRun("ours, field of view", ours(inside), operations),
        TimedRun("one pass over the whole", whole, operations),
    ], compared


def _picture(size: int, tile: int) -> tuple[Float, Bool]:
    """Return the sample as a network sees it, in a frame as cameras have it, of whole tiles."""
    recipe = Recipe(resize="disc", disc_diameter=size, enhance=True, sigma=30 * size / 1750)
    prepared = recipe.apply(read_image(sample_image_path()))
    planes = to_network_input(prepared)
    height, width = planes.shape[1:]
    more = (-height % tile, -width % tile)
    planes = np.pad(planes, ((0, 0), (0, more[0]), (0, more[1])), constant_values=INPUT_FILL)
    inside = cv2.copyMakeBorder(
        prepared.field_of_view.view(np.uint8), 0, more[0], 0, more[1], cv2.BORDER_CONSTANT, value=0
    )
    return np.ascontiguousarray(planes), inside > 0


def _fit_batchnorm(network: nn.Module, picture: Float) -> None:
    """Give the normalizations statistics as after training, and the answers all of 0 to 1."""
    with torch.no_grad():
        head = [m for m in network.modules() if isinstance(m, nn.Conv2d)][-1]
        head.weight.normal_(0, 0.5)
        cast("torch.Tensor", head.bias).zero_()
        network.train()
        side = 256
        rows, cols = (n // 2 for n in picture.shape[1:])
        patch = torch.from_numpy(picture[np.newaxis, :, rows : rows + side, cols : cols + side])
        for _ in range(5):
            network(patch)
        network.eval()


if __name__ == "__main__":
    main()
