"""The stages of networks: voting, tiling, refinement, pasting of masks, class activation maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import tiles, voting
from benchmarks.peers import TimedRun
from benchmarks.performance.baselines import patches_with_all_cores
from benchmarks.performance.machine_limits import LeastWork
from benchmarks.performance.stage import BenchmarkStage, Peer, largest_difference
from napari_fundus.backends.cam.architecture import ClassifierArchitecture
from napari_fundus.backends.cam.maps import LogOddsClassifier, activation_map
from napari_fundus.backends.cam.network import OoNetwork
from napari_fundus.backends.multiscale.refiner import Refiner, RefinerArchitecture
from napari_fundus.inference.detect_objects import paste_mask
from napari_fundus.inference.fuse_batchnorm import fuse_conv_batchnorm
from napari_fundus.inference.sliding_window import run_patches
from napari_fundus.runtime.devices import CPU

__all__ = ["NetworkSizes", "network_stages"]

Float = npt.NDArray[np.float32]


@dataclass(frozen=True)
class NetworkSizes:
    """How much the networks have to do: discs' diameters and sides in pixels, and counts."""

    voting: int = 256
    tiling: int = 1000
    tile: int = 384
    patches: int = 768
    objects: int = 100
    pasted_on: int = 1400
    cam: int = 512


def network_stages(sizes: NetworkSizes) -> Iterator[BenchmarkStage]:
    """Yield the stages; networks have fresh weights, pictures come from the sample."""
    yield _voting(sizes.voting)
    yield _tiling(sizes.tiling, sizes.tile)
    yield _refinement(sizes.patches)
    yield _pasting(sizes.objects, sizes.pasted_on)
    yield _cam(sizes.cam)


def _voting(size: int) -> BenchmarkStage:
    contestants, compared = voting.build_runs(size=size, patch=32, stride=8, width=16, device=CPU)
    monai, ours = contestants[0], _named(contestants, "ours, float32, whole frame")
    height, width = compared.shape
    return BenchmarkStage(
        "Patch voting",
        f"{width}×{height} px, patch 32, stride 8",
        ours.run,
        (Peer("MONAI `SlidingWindowInferer`", monai.run),),
        lambda one, other: largest_difference(one[compared], other[compared]),
        LeastWork(operations=ours.operations),
    )


def _tiling(size: int, tile: int) -> BenchmarkStage:
    contestants, compared = tiles.build_runs(size=size, tile=tile, device=CPU)
    monai, ours = contestants[0], _named(contestants, "ours, whole frame")
    whole = _named(contestants, "one pass over the whole").run()
    height, width = compared.shape

    def apart(one: Float, other: Float) -> str:
        # MONAI averages what its windows say, and says what none alone would: hence the third map.
        off = [largest_difference(values[compared], whole[compared]) for values in (one, other)]
        between = largest_difference(one[compared], other[compared])
        return f"{between}; from one pass over the whole: ours {off[0]}, theirs {off[1]}"

    return BenchmarkStage(
        "Tiling (U-Net)",
        f"{width}×{height} px, tiles of {tile}",
        ours.run,
        (Peer("MONAI `SlidingWindowInferer`", monai.run),),
        apart,
        LeastWork(operations=ours.operations),
    )


def _named(contestants: list[TimedRun], title: str) -> TimedRun:
    return next(contestant for contestant in contestants if contestant.title == title)


class _Answer(nn.Module):
    """A refiner that gives logits alone."""

    def __init__(self, refiner: nn.Module) -> None:
        super().__init__()
        self.refiner = refiner

    def forward(self, patches: Any) -> Any:
        return self.refiner(patches)[0]


def _refinement(count: int) -> BenchmarkStage:
    torch.manual_seed(0)
    patch, batch = 49, 128
    plain = Refiner(RefinerArchitecture(backbone="light", patch=patch)).eval()
    rng = np.random.default_rng(0)
    picture = rng.standard_normal((3, 600, 600)).astype(np.float32)
    centres = rng.integers(0, 600, (count, 2))
    # Answers spread over all logits, as those of a trained network do.
    with torch.no_grad():
        plain.head.weight.normal_(0, 0.5)
    folded = _Answer(fuse_conv_batchnorm(plain))

    def ours() -> Float:
        return run_patches(
            folded, picture, centres, patch=patch, batch=batch, precision="float32", device=CPU
        )

    def loop() -> Float:
        half = patch // 2
        padded = torch.from_numpy(np.pad(picture, ((0, 0), (half, half), (half, half))))
        found = []
        with torch.inference_mode():
            for start in range(0, count, batch):
                places = centres[start : start + batch].tolist()
                patches = [padded[:, r : r + patch, c : c + patch] for r, c in places]
                found.append(plain(torch.stack(patches))[0])
        answers: Float = torch.cat(found).numpy()
        return answers

    return BenchmarkStage(
        "Refinement of suspect places (PRN)",
        f"{count} patches of {patch} px",
        ours,
        (Peer(f"PyTorch loop, batches of {batch}", loop),),
        largest_difference,
        LeastWork(operations=count * _operations(folded, (3, patch, patch))),
        before=lambda: patches_with_all_cores(folded, picture, centres, patch=patch, batch=batch),
    )


def _pasting(count: int, side: int) -> BenchmarkStage:
    """Return the stage at which a Mask R-CNN differs from torchvision's, whose layers it has."""
    rng = np.random.default_rng(0)
    cells = 28
    rows, cols = np.mgrid[:cells, :cells] / (cells - 1) - 0.5
    turned = rng.uniform(0, np.pi, (count, 1, 1))
    along = rows * np.cos(turned) + cols * np.sin(turned)
    across = cols * np.cos(turned) - rows * np.sin(turned)
    masks = (1 / (1 + np.exp(40 * (np.hypot(along, 1.6 * across) - 0.4)))).astype(np.float32)
    # Lesions are small beside their picture: sides of 6 to 60 px.
    sides = np.exp(rng.uniform(np.log(6), np.log(60), (count, 2)))
    first = rng.uniform(0, side - 61, (count, 2))
    boxes = np.concatenate([first, first + sides], axis=1).astype(np.float32)

    def ours() -> list[Any]:
        return [paste_mask(mask, box, (side, side)) for mask, box in zip(masks, boxes, strict=True)]

    def torchvision() -> npt.NDArray[np.bool_]:
        from torchvision.models.detection.roi_heads import paste_masks_in_image

        pasted = paste_masks_in_image(
            torch.from_numpy(masks)[:, None], torch.from_numpy(boxes), (side, side)
        )
        whole: npt.NDArray[np.bool_] = (pasted[:, 0] >= 0.5).numpy()
        return whole

    def apart(one: list[Any], other: npt.NDArray[np.bool_]) -> str:
        wrong = 0
        for (row, col, mask), theirs in zip(one, other, strict=True):
            full = np.zeros((side, side), np.bool_)
            full[row : row + mask.shape[0], col : col + mask.shape[1]] = mask
            wrong += int(np.count_nonzero(full != theirs))
        return f"{wrong:,} of {int(np.count_nonzero(other)):,} px, at borders"

    return BenchmarkStage(
        "Mask R-CNN: masks into the picture",
        f"{count} masks, {side}×{side} px",
        ours,
        (Peer("torchvision `paste_masks_in_image`", torchvision),),
        apart,
        LeastWork(moved=float(masks.nbytes + np.prod(sides, axis=1).sum())),
    )


def _cam(side: int) -> BenchmarkStage:
    from torchcam.methods import CAM

    torch.manual_seed(0)
    network = OoNetwork(ClassifierArchitecture(width=0.5, first_stride=2)).eval()
    odds = LogOddsClassifier(network, "referable")
    images = torch.randn(1, 3, side, side)

    def ours() -> Float:
        found: Float = activation_map(odds, images, "cam")[1].numpy()
        return found

    def torchcam() -> Float:
        with CAM(network, "maps", "classifier", input_shape=(3, side, side)) as extractor:
            with torch.inference_mode():
                scores = network(images)
            found: Float = extractor(0, scores, normalized=False)[0].numpy()
        return found

    return BenchmarkStage(
        "Class activation map",
        f"{side}×{side} px, o_O network of half width",
        ours,
        (Peer("torchcam `CAM`", torchcam),),
        largest_difference,
        LeastWork(operations=_operations(network, (3, side, side))),
    )


def _operations(network: nn.Module, shape: tuple[int, int, int]) -> float:
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *shape))
    return float(counter.get_total_flops())
