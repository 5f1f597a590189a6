"""Put two trained U-Nets, the second of half the scale, into one file that averages them.

Run ``python scripts/merge_unets.py FINE COARSE -o BOTH.safetensors [--share SE=0.8 …]
[--offset MA=-1 …]``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from napari_fundus.backends.unet.merge_scales import merge_scales
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
    parser.add_argument(
        "--offset",
        action="append",
        default=[],
        metavar="CLASS=LOGITS",
        help="added to the mean of a class's logits, 0 where not given",
    )
    parser.add_argument("--overwrite", action="store_true")
    chosen = parser.parse_args()
    tensors, card = merge_scales(
        read_checkpoint(chosen.fine),
        read_checkpoint(chosen.coarse),
        shares=_numbers(chosen.share),
        offsets=_numbers(chosen.offset),
    )
    save_checkpoint(chosen.output, tensors, card, overwrite=chosen.overwrite)
    print(f"{chosen.output}: {chosen.output.stat().st_size / 1e6:.2f} MB")


def _numbers(given: list[str]) -> dict[str, float]:
    """Return ``["SE=0.8"]`` as a dictionary."""
    parts = (text.partition("=") for text in given)
    return {code: float(number) for code, _, number in parts}


if __name__ == "__main__":
    main()
