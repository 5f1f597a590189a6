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

from benchmarks.contest import Contestant, compete
from napari_fundus.backends.unet.network import Architecture, build_network
from napari_fundus.devices import choose_device
from napari_fundus.image import read_image
from napari_fundus.inference.tiles import run_tiles
from napari_fundus.preprocessing import Recipe
from napari_fundus.preprocessing.planes import FILL, to_planes
from napari_fundus.samples import sample_image_path

Float = npt.NDArray[np.float32]


def main() -> None:
    """Run the comparison and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", type=int, default=1750, help="disc diameter of the picture, px")
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    device = choose_device(arguments.device, supported=("cpu", "cuda", "mps"))
    torch.manual_seed(0)
    architecture = Architecture(filters=(16, 32, 64, 96), outputs=1)
    network = nn.Sequential(build_network(architecture), nn.Sigmoid()).eval()
    multiple = architecture.multiple
    tile = -(-arguments.tile // multiple) * multiple
    halo = -(-architecture.reach // multiple) * multiple
    picture, inside = _picture(arguments.size, tile)
    _settle(network, picture)
    window = tile + 2 * halo
    inferer = SlidingWindowInferer(window, 1, overlap=2 * halo / window)

    def monai() -> Float:
        # Its windows stay within the picture: padded by the halo, they step as ours do.
        more = ((0, 0), (halo, halo), (halo, halo))
        padded = np.pad(picture, more, constant_values=FILL)[np.newaxis]
        with torch.inference_mode():
            whole = torch.from_numpy(padded).to(device.name, memory_format=torch.channels_last)
            result = cast("torch.Tensor", inferer(whole, network))
        kept: Float = result[0, 0, halo:-halo, halo:-halo].cpu().numpy()
        return kept

    def ours(mask: npt.NDArray[np.bool_]) -> Callable[[], Float]:
        def run() -> Float:
            done = run_tiles(
                network,
                picture,
                outputs=1,
                tile=tile,
                halo=halo,
                multiple=multiple,
                inside=mask,
                fill=FILL,
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

    network = network.to(device.name, memory_format=torch.channels_last)  # type: ignore[call-overload]
    contestants = [
        Contestant("MONAI, sliding window", monai, 0),
        Contestant("ours, whole frame", ours(np.ones_like(inside)), 0),
        Contestant("ours, field of view", ours(inside), 0),
        Contestant("one pass over the whole", whole, 0),
    ]
    compete(contestants, device, arguments.repeats)
    print(
        f"{device.title}, {torch.get_num_threads()} threads; picture {inside.shape[1]}x"
        f"{inside.shape[0]} px, tiles of {tile} px, halo {halo} px; plain U-Net, float32\n"
    )
    print("| engine | seconds | times MONAI | processor s | times MONAI | peak MiB | off whole |")
    print("|---|---|---|---|---|---|---|")
    first, reference = contestants[0], contestants[-1].map
    for contestant in contestants:
        off = np.abs(contestant.map - reference)[inside].max()
        print(
            f"| {contestant.title} | {min(contestant.seconds):.2f} | "
            f"{min(first.seconds) / min(contestant.seconds):.2f} | {min(contestant.busy):.2f} | "
            f"{min(first.busy) / min(contestant.busy):.2f} | {contestant.memory:.0f} | {off:.1e} |"
        )


def _picture(size: int, tile: int) -> tuple[Float, npt.NDArray[np.bool_]]:
    """Return the sample as a network sees it, in a frame as cameras have it, of whole tiles."""
    recipe = Recipe(resize="disc", disc_diameter=size, enhance=True, sigma=30 * size / 1750)
    prepared = recipe.apply(read_image(sample_image_path()))
    planes = to_planes(prepared)
    height, width = planes.shape[1:]
    more = (-height % tile, -width % tile)
    planes = np.pad(planes, ((0, 0), (0, more[0]), (0, more[1])), constant_values=FILL)
    inside = cv2.copyMakeBorder(
        prepared.field_of_view.view(np.uint8), 0, more[0], 0, more[1], cv2.BORDER_CONSTANT, value=0
    )
    return np.ascontiguousarray(planes), inside > 0


def _settle(network: nn.Module, picture: Float) -> None:
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
