"""Patch voting against MONAI's sliding window: same network, patches and stride, in one run.

Usage: ``python -m benchmarks.voting [--device cuda] [--stride 8] [--size 1400] …``
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
import torch
from monai.inferers.inferer import SlidingWindowInferer
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from napari_fundus.backends.voting.network import Architecture, PatchNetwork, paper_widths
from napari_fundus.devices import Device, Precision, choose_device, preferred_precision
from napari_fundus.image import read_image
from napari_fundus.inference.patches import PatchGrid
from napari_fundus.inference.voting import vote
from napari_fundus.preprocessing import find_field_of_view
from napari_fundus.samples import sample_image_path

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

_MEMORY = Path("/proc/self/status")
_MEMORY_RESET = Path("/proc/self/clear_refs")


@dataclass
class Contestant:
    """An engine, and what was measured of it.

    Attributes
    ----------
    title
        Its line in the table.
    run
        Gives the map, shape (H, W).
    operations
        Floating-point operations of a run.
    seconds, busy
        Of each repeat: on the clock, and the processor time of all threads (on a CPU, the fairer
        measure where other work runs beside).
    memory
        Peak of the first run above the start, MiB.
    map
        The last result.
    """

    title: str
    run: Callable[[], Float]
    operations: float
    seconds: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    memory: float = 0.0
    map: Float = field(default_factory=lambda: np.zeros((0, 0), np.float32))


def main() -> None:
    """Run the comparison and print its table."""
    arguments = _arguments()
    device = choose_device(arguments.device, supported=("cpu", "cuda", "mps"))
    torch.manual_seed(0)
    picture, inside = _picture(arguments.size, arguments.patch, arguments.stride)
    architecture = Architecture(patch=arguments.patch, widths=paper_widths(arguments.width))
    network = _settled(PatchNetwork(architecture), picture)
    contestants = _contestants(network, picture, inside, device, arguments)
    rates: list[float] = []
    # By turns, so that whatever else runs on this machine slows all of them alike.
    for _ in range(arguments.repeats):
        rates.append(_matmul_rate(device))
        for contestant in contestants:
            _measure(contestant, device)
    print(
        f"{device.title}, {torch.get_num_threads()} threads; picture {inside.shape[1]}x"
        f"{inside.shape[0]} px, patch {arguments.patch}, stride {arguments.stride}, width "
        f"{arguments.width}; float32 matrix product {max(rates) / 1e9:.0f} GFLOP/s\n"
    )
    print(
        "| engine | GFLOP | seconds | times MONAI | processor s | times MONAI | of matmul "
        "| peak MiB | largest difference |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    monai = contestants[0]
    # Compared where both lay the same patches: MONAI's do not reach over the border.
    inner = np.s_[arguments.patch : -arguments.patch, arguments.patch : -arguments.patch]
    for contestant in contestants:
        difference = np.abs(contestant.map - monai.map)[inner][inside[inner]].max()
        best = min(contestant.seconds)
        print(
            f"| {contestant.title} | {contestant.operations / 1e9:.0f} | {best:.2f} | "
            f"{min(monai.seconds) / best:.2f} | {min(contestant.busy):.2f} | "
            f"{min(monai.busy) / min(contestant.busy):.2f} | "
            f"{contestant.operations / best / max(rates):.0%} | {contestant.memory:.0f} | "
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


def _settled(network: PatchNetwork, picture: Float) -> PatchNetwork:
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


def _contestants(
    network: PatchNetwork,
    picture: Float,
    inside: Bool,
    device: Device,
    arguments: argparse.Namespace,
) -> list[Contestant]:
    """Return MONAI's sliding window first, then ours."""
    patch, stride = int(arguments.patch), int(arguments.stride)
    batch = arguments.batch or max(65_536 // patch**2, 1)
    plain = network.to(device.name)
    height, width = inside.shape
    windows = ((height - patch) // stride + 1) * ((width - patch) // stride + 1)
    inferer = SlidingWindowInferer(patch, batch, overlap=1 - stride / patch)

    def monai() -> Float:
        with torch.inference_mode():
            whole = torch.from_numpy(picture[np.newaxis]).to(device.name)
            result = cast("torch.Tensor", inferer(whole, plain))
        whole_map: Float = result[0, 0].cpu().numpy()
        return whole_map

    def ours(precision: Precision, mask: Bool) -> Callable[[], Float]:
        def run() -> Float:
            result: Float = vote(
                network,
                picture,
                patch=patch,
                stride=stride,
                inside=mask,
                device=device,
                precision=precision,
                batch=arguments.batch,
            ).probability[0]
            return result

        return run

    contestants = [
        Contestant("MONAI, float32", monai, windows * _operations(network, patch, device))
    ]
    grid = PatchGrid(picture.shape[-2:], patch, stride)
    folded = _operations(network.for_inference().to(device.name), patch, device)
    # A dict keeps the order and drops the second where float32 is the fastest.
    precisions: tuple[Precision, ...] = ("float32", preferred_precision(device))
    for precision in dict.fromkeys(precisions):
        for where, mask in (("whole frame", np.ones_like(inside)), ("field of view", inside)):
            contestants.append(
                Contestant(
                    f"ours, {precision}, {where}",
                    ours(precision, mask),
                    float(grid.touching(mask).sum()) * folded,
                )
            )
    return contestants


def _operations(network: nn.Module, patch: int, device: Device) -> float:
    """Return the floating-point operations that `network` takes for one patch."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, patch, patch, device=device.name))
    return float(counter.get_total_flops())


def _matmul_rate(device: Device, side: int = 2048) -> float:
    """Return how fast `device` multiplies float32 matrices, in operations a second."""
    a = torch.ones(side, side, device=device.name)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        (a @ a)[0, 0].item()  # reading a value waits for the device
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds)


def _measure(contestant: Contestant, device: Device) -> None:
    before = _peak_memory(device, reset=True)
    start, start_busy = time.perf_counter(), time.process_time()
    contestant.map = contestant.run()
    contestant.seconds.append(time.perf_counter() - start)
    contestant.busy.append(time.process_time() - start_busy)
    contestant.memory = max(contestant.memory, _peak_memory(device) - before)


def _peak_memory(device: Device, *, reset: bool = False) -> float:
    """Return the highest memory in use since the last reset, MiB; on a CPU, of the process."""
    if device.kind == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats(device.name)
        return torch.cuda.max_memory_allocated(device.name) / 2**20
    if not _MEMORY_RESET.exists():
        return float("nan")
    if reset:
        _MEMORY_RESET.write_text("5", encoding="ascii")
    line = next(x for x in _MEMORY.read_text(encoding="ascii").splitlines() if "VmHWM" in x)
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
