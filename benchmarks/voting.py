"""Patch voting against MONAI's sliding window: same network, patches and stride, in one run.

Usage: ``python -m benchmarks.voting [--device cuda] [--stride 8] [--size 1400] …``
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
import torch
from monai.inferers.inferer import SlidingWindowInferer
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.peers import TimedRun, time_with_matmul
from napari_fundus.backends.voting.network import (
    PatchNetwork,
    PatchNetworkArchitecture,
    paper_widths,
)
from napari_fundus.image import read_image
from napari_fundus.inference.patch_grid import PatchGrid
from napari_fundus.inference.voting import run_voting
from napari_fundus.preprocessing import find_field_of_view
from napari_fundus.runtime.devices import Device, Precision, choose_device, preferred_precision
from napari_fundus.samples import sample_image_path

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]


def main() -> None:
    """Run the comparison and print its table."""
    arguments = _arguments()
    device = choose_device(arguments.device, supported=("cpu", "cuda", "mps"))
    contestants, compared = build_runs(
        size=arguments.size,
        patch=arguments.patch,
        stride=arguments.stride,
        width=arguments.width,
        batch=arguments.batch,
        device=device,
    )
    rate = time_with_matmul(contestants, device, arguments.repeats)
    print(
        f"{device.title}, {torch.get_num_threads()} threads; picture {compared.shape[1]}x"
        f"{compared.shape[0]} px, patch {arguments.patch}, stride {arguments.stride}, width "
        f"{arguments.width}; float32 matrix product {rate / 1e9:.0f} GFLOP/s\n"
    )
    print(
        "| engine | GFLOP | seconds | times MONAI | processor s | times MONAI | of matmul "
        "| peak MiB | largest difference |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    monai = contestants[0]
    for contestant in contestants:
        difference = np.abs(contestant.result - monai.result)[compared].max()
        best = min(contestant.seconds)
        print(
            f"| {contestant.title} | {contestant.operations / 1e9:.0f} | {best:.2f} | "
            f"{min(monai.seconds) / best:.2f} | {min(contestant.busy):.2f} | "
            f"{min(monai.busy) / min(contestant.busy):.2f} | "
            f"{median(contestant.shares):.0%} | {contestant.memory:.0f} | "
            f"{difference:.1e} |"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", type=int, default=256, help="disc diameter of the picture, px")
    parser.add_argument("--patch", type=int, default=32)
    parser.add_argument("--stride", type=int, default=8)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch", type=int, default=None, help="default: what the engine takes")
    parser.add_argument("--repeats", type=int, default=4)
    return parser.parse_args()


def _picture(size: int, patch: int, stride: int) -> tuple[Float, Bool]:
    """Return the sample's standardized green plane, cropped to its disc, and the field of view."""
    image = read_image(sample_image_path())
    inside = find_field_of_view(image)
    left, top, width, height = cv2.boundingRect(inside.view(np.uint8))
    box = np.s_[top : top + height, left : left + width]
    # Sides that MONAI's steps divide, so that it lays no extra patches at the end.
    sides = [
        max(round((side * size / max(width, height) - patch) / stride), 1) * stride + patch
        for side in (width, height)
    ]
    green = np.ascontiguousarray(image.rgb8[box][..., 1])
    plane = cv2.resize(green, sides, interpolation=cv2.INTER_AREA).astype(np.float32)
    mask = cv2.resize(inside[box].view(np.uint8), sides, interpolation=cv2.INTER_NEAREST) > 0
    plane = np.where(mask, (plane - plane[mask].mean()) / plane[mask].std(), np.float32(0))
    return plane[np.newaxis], mask


def _with_fitted_batchnorm(network: PatchNetwork, picture: Float) -> PatchNetwork:
    """Return the network with statistics as after training and answers all over 0 to 1."""
    with torch.no_grad():
        network.output.weight.normal_(0, 0.5)
        cast("torch.Tensor", network.output.bias).zero_()
        side = network.architecture.patch
        plane = torch.from_numpy(picture[0])
        patches = plane.unfold(0, side, side).unfold(1, side, side).reshape(-1, 1, side, side)
        for _ in range(20):
            network(patches[torch.randperm(len(patches))[:64]])
    return network.eval()


def build_runs(
    *, size: int, patch: int, stride: int, width: int, device: Device, batch: int | None = None
) -> tuple[list[TimedRun], Bool]:
    """Return who competes, and the pixels in which their maps are compared.

    Parameters
    ----------
    size
        Diameter of the disc in the picture, px.
    patch, stride
        Side and distance of the patches, px.
    width
        Of the network.
    device
        Where to compute.
    batch
        Patches that run together; None for what each engine takes.

    Returns
    -------
    contestants
        MONAI's sliding window first, then ours: over the whole frame and the field of view, in
        float32 and, where the device has a faster one, that precision. Each gives a map, float32
        (H, W).
    compared
        bool, shape (H, W): where both lay the same patches, within the field of view. MONAI's do
        not reach over the border.
    """
    torch.manual_seed(0)
    picture, inside = _picture(size, patch, stride)
    architecture = PatchNetworkArchitecture(patch=patch, widths=paper_widths(width))
    network = _with_fitted_batchnorm(PatchNetwork(architecture), picture)
    compared = np.zeros_like(inside)
    inner = np.s_[patch:-patch, patch:-patch]
    compared[inner] = inside[inner]
    return _contestants(network, picture, inside, patch, stride, batch, device), compared


def _contestants(
    network: PatchNetwork,
    picture: Float,
    inside: Bool,
    patch: int,
    stride: int,
    batch: int | None,
    device: Device,
) -> list[TimedRun]:
    at_once = batch or max(65_536 // patch**2, 1)
    plain = network.to(device.name)
    height, width = inside.shape
    windows = ((height - patch) // stride + 1) * ((width - patch) // stride + 1)
    inferer = SlidingWindowInferer(patch, at_once, overlap=1 - stride / patch)

    def monai() -> Float:
        with torch.inference_mode():
            whole = torch.from_numpy(picture[np.newaxis]).to(device.name)
            result = cast("torch.Tensor", inferer(whole, plain))
        whole_map: Float = result[0, 0].cpu().numpy()
        return whole_map

    def ours(precision: Precision, mask: Bool) -> Callable[[], Float]:
        def run() -> Float:
            result: Float = run_voting(
                network,
                picture,
                patch=patch,
                stride=stride,
                inside=mask,
                device=device,
                precision=precision,
                batch=batch,
            ).probability[0]
            return result

        return run

    contestants = [TimedRun("MONAI, float32", monai, windows * _operations(network, patch, device))]
    grid = PatchGrid(picture.shape[-2:], patch, stride)
    folded = _operations(network.for_inference().to(device.name), patch, device)
    # A dict keeps the order and drops the second where float32 is the fastest.
    precisions: tuple[Precision, ...] = ("float32", preferred_precision(device))
    for precision in dict.fromkeys(precisions):
        for where, mask in (("whole frame", np.ones_like(inside)), ("field of view", inside)):
            contestants.append(
                TimedRun(
                    f"ours, {precision}, {where}",
                    ours(precision, mask),
                    float(grid.overlapping(mask).sum()) * folded,
                )
            )
    return contestants


def _operations(network: nn.Module, patch: int, device: Device) -> float:
    """Return the floating-point operations that `network` takes for one patch."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, patch, patch, device=device.name))
    return float(counter.get_total_flops())


if __name__ == "__main__":
    main()
