"""What each of the U-Net's two scales knows: AUPR by the coarse network's share of the mean.

Run ``python -m benchmarks.unet_scales [WEIGHTS] --data IDRID``: the images are those that the
weights' card names as held back. It is how the shares of joined weights are chosen
(``scripts/join_unets.py --share``).
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from napari_fundus.backends.unet import UNet
from napari_fundus.backends.unet.detector import load_network
from napari_fundus.backends.unet.options import DEFAULT_CHECKPOINT
from napari_fundus.backends.unet.two_scales import TwoScales
from napari_fundus.checkpoints import load_checkpoint
from napari_fundus.datasets import open_dataset
from napari_fundus.devices import choose_device
from napari_fundus.evaluation import PixelCounts
from napari_fundus.evaluation.report import Contender, select_samples
from napari_fundus.inference.folding import fold_sequences
from napari_fundus.inference.recipes import recipe_on_card
from napari_fundus.inference.tiles import run_tiles
from napari_fundus.lesions import Lesion
from napari_fundus.preprocessing.planes import FILL, to_planes

SHARES = (0.0, 0.15, 0.25, 0.35, 0.5, 0.75, 0.9, 1.0)
LESIONS = (Lesion.MA, Lesion.HE, Lesion.EX, Lesion.SE)


class EachShare(nn.Module):
    """The maps of two scales for each share, one after the other, from one pass of both."""

    def __init__(self, both: TwoScales) -> None:
        super().__init__()
        self.both = both

    def forward(self, images: Tensor) -> Tensor:
        """Return probabilities, shape (B, shares × K, H, W)."""
        near, far = self.both.logits(images)
        return torch.cat([torch.lerp(near, far, share).sigmoid() for share in SHARES], dim=1)


def main() -> None:
    """Run over the images and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", nargs="?", default=DEFAULT_CHECKPOINT)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/idrid"))
    chosen = parser.parse_args()
    checkpoint = load_checkpoint(chosen.weights, detector=UNet.name)
    network, architecture = load_network(checkpoint)
    if not isinstance(network, TwoScales):
        sys.exit(f"{chosen.weights} holds one scale only.")
    recipe, classes = recipe_on_card(checkpoint), checkpoint.card.lesions
    each = EachShare(cast("TwoScales", fold_sequences(network)))
    contender = Contender.of(UNet(), {"checkpoint": chosen.weights})
    samples = select_samples(
        open_dataset(chosen.data), [contender], split="held-back", graded=False
    ).samples
    counts: defaultdict[tuple[str, float], PixelCounts] = defaultdict(lambda: PixelCounts(33))
    for number, sample in enumerate(samples, start=1):
        print(f"\r{number} of {len(samples)}: {sample.id}", end="", file=sys.stderr, flush=True)
        image = sample.image()
        prepared = recipe.apply(image)
        maps = run_tiles(
            each,
            to_planes(prepared),
            outputs=len(SHARES) * architecture.outputs,
            tile=2048,
            halo=architecture.reach,
            multiple=architecture.multiple,
            inside=prepared.field_of_view,
            fill=FILL,
            device=choose_device("cpu"),
        ).maps
        for code in sorted(sample.annotated & set(LESIONS) & set(classes)):
            truth = sample.mask(code, image.shape)
            for turn, share in enumerate(SHARES):
                found = maps[turn * len(classes) + classes.index(code)]
                counts[code, share].add(prepared.to_original(found).clip(0, 1), truth)
    print(file=sys.stderr)
    print(
        f"Weights {chosen.weights}: AUPR (33 thresholds, all pixels pooled) on {len(samples)} "
        "images that the card names as held back, at full resolution, by the share of the coarse "
        "network's logits.\n"
    )
    print(f"| | {' | '.join(f'{share:g}' for share in SHARES)} |")
    print("|---" * (1 + len(SHARES)) + "|")
    for code in LESIONS:
        cells = (f"{counts[code, share].curve().aupr:.3f}".lstrip("0") for share in SHARES)
        print(f"| {code} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
