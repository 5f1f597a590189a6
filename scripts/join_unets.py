"""Put two trained U-Nets, the second of half the scale, into one file that averages them.

Run ``python scripts/join_unets.py FINE COARSE -o BOTH.safetensors [--share SE=0.8 …]``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from napari_fundus.backends.unet.joining import join_scales
from napari_fundus.checkpoints import read_checkpoint, save_checkpoint


def main() -> None:
    """Read both, join, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fine", type=Path, help="best.safetensors of a training")
    parser.add_argument("coarse", type=Path, help="of one on half the disc's diameter and blur")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument(
        "--share",
        action="append",
        default=[],
        metavar="CLASS=SHARE",
        help="weight of the second one's logits for a class, .5 where not given",
    )
    parser.add_argument("--overwrite", action="store_true")
    chosen = parser.parse_args()
    shares = {code: float(share) for code, _, share in (s.partition("=") for s in chosen.share)}
    tensors, card = join_scales(
        read_checkpoint(chosen.fine), read_checkpoint(chosen.coarse), shares=shares
    )
    save_checkpoint(chosen.output, tensors, card, overwrite=chosen.overwrite)
    print(f"{chosen.output}: {chosen.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
