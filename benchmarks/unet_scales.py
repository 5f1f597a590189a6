"""What each of the U-Net's two scales knows: AUPR by the coarse network's share of the mean.

Run ``python -m benchmarks.unet_scales [WEIGHTS] --data IDRID``: the images are those that the
weights' card names as held back. It is how the shares of joined weights are chosen
(``scripts/merge_unets.py --share``).
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

from napari_fundus.backends.unet import UNet
from napari_fundus.backends.unet.options import DEFAULT_CHECKPOINT
from napari_fundus.backends.unet.tiled_inference import predict_logits
from napari_fundus.backends.unet.weights import load_network
from napari_fundus.checkpoints import load_checkpoint
from napari_fundus.datasets import open_dataset
from napari_fundus.evaluation import Candidate, select_samples
from napari_fundus.inference.card_preprocessing import preprocessing_from_card
from napari_fundus.inference.fuse_batchnorm import fuse_conv_batchnorm
from napari_fundus.lesions import Lesion
from napari_fundus.metrics import PixelHistogram
from napari_fundus.preprocessing.network_input import to_network_input
from napari_fundus.runtime.devices import choose_device

SHARES = (0.0, 0.15, 0.25, 0.35, 0.5, 0.75, 0.9, 1.0)
LESIONS = (Lesion.MA, Lesion.HE, Lesion.EX, Lesion.SE)


def main() -> None:
    """Run over the images and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", nargs="?", default=DEFAULT_CHECKPOINT)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/idrid"))
    chosen = parser.parse_args()
    checkpoint = load_checkpoint(chosen.weights, detector=UNet.name)
    network, architecture = load_network(checkpoint)
    if architecture.coarse is None:
        sys.exit(f"{chosen.weights} holds one scale only.")
    recipe, classes = preprocessing_from_card(checkpoint), checkpoint.card.lesions
    network = fuse_conv_batchnorm(network)
    candidate = Candidate.of(UNet(), {"checkpoint": chosen.weights})
    samples = select_samples(
        open_dataset(chosen.data), [candidate], split="held-back", graded=False
    ).samples
    counts: defaultdict[tuple[str, float], PixelHistogram] = defaultdict(PixelHistogram)
    for number, sample in enumerate(samples, start=1):
        print(f"\r{number} of {len(samples)}: {sample.id}", end="", file=sys.stderr, flush=True)
        image = sample.image()
        prepared = recipe.apply(image)
        found = predict_logits(
            network,
            architecture,
            to_network_input(prepared),
            inside=prepared.field_of_view,
            tile=2048,
            device=choose_device("cpu"),
        )
        maps = {share: found.probability(share) for share in SHARES}
        for code in sorted(sample.annotated & set(LESIONS) & set(classes)):
            truth = sample.mask(code, image.shape)
            for share, values in maps.items():
                own = prepared.to_original(values[classes.index(code)])
                counts[code, share].add(own.clip(0, 1), truth)
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
