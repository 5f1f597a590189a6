"""Put the weights of a run into the package, rounded, with what their card should say.

Run ``python scripts/bundle_weights.py RUN/best.safetensors NAME``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from napari_fundus.checkpoints import read_checkpoint, save_checkpoint
from napari_fundus.checkpoints.quantization import Storage

FOLDER = Path(__file__).parents[1] / "src" / "napari_fundus" / "weights"


def main() -> None:
    """Read, complete the card, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="best.safetensors of a training")
    parser.add_argument("name", help="of the weights, and of their file")
    parser.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="NAME=FIGURE",
        help="figure for the card; given once, the figures of the training are left out",
    )
    parser.add_argument("--notes", help="what a user should know")
    parser.add_argument("--data", help="what they were trained on, in full")
    parser.add_argument("--storage", choices=get_args(Storage), default="float16")
    chosen = parser.parse_args()
    source = read_checkpoint(chosen.run)
    metrics = {name: float(figure) for name, figure in (m.split("=") for m in chosen.metric)}
    card = source.card.model_copy(
        update={
            "name": chosen.name,
            "metrics": metrics or source.card.metrics,
            "notes": chosen.notes or source.card.notes,
            "data": chosen.data or source.card.data,
            # What is trained on pictures under a licence with attribution goes on under it.
            "licence": source.card.licence or source.card.data_licence,
        }
    )
    path = FOLDER / f"{chosen.name}.safetensors"
    save_checkpoint(path, source.tensors, card, overwrite=True, storage=chosen.storage)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
