"""Write into the cards of bundled weights which photographs they have seen, by content.

Run ``python scripts/hash_training_images.py ../shared/data/idrid``. Ids of the cards are looked up
in the data set; ``healthy/NAME`` is the photograph of that name among the graded ones. Other
photographs of the training's eyes are written as well. The weights stay as they are, bit for bit.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from napari_fundus.checkpoints import read_card
from napari_fundus.checkpoints.file import replace_card
from napari_fundus.datasets import Sample, open_dataset
from napari_fundus.image_identity import ImageIdentity

FOLDER = Path(__file__).parents[1] / "src" / "napari_fundus" / "weights"


def main() -> None:
    """Hash the images of each card, and write the card anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of IDRiD")
    parser.add_argument("weights", type=Path, nargs="*", help="by default those of the package")
    chosen = parser.parse_args()
    samples = {sample.id: sample for sample in open_dataset(chosen.data) if sample.split != "test"}
    for path in chosen.weights or sorted(FOLDER.glob("*.safetensors")):
        card = read_card(path)
        trained = [_find(name, samples) for name in card.split.train]
        eyes = {sample.group for sample in trained} - {None}
        others = [sample for sample in samples.values() if sample.group in eyes]
        split = card.split.model_copy(
            update={
                "train_images": _identities([*trained, *others]),
                "validation_images": _identities(
                    _find(name, samples) for name in card.split.validation
                ),
            }
        )
        replace_card(path, card.model_copy(update={"split": split}))
        print(
            f"{path.name}: {len(split.train_images)} photographs of the eyes of "
            f"{len(card.split.train)} training images, {len(split.validation_images)} of validation"
        )


def _find(name: str, samples: dict[str, Sample]) -> Sample:
    return samples[name.replace("healthy/", "grading/", 1)]


def _identities(samples: Iterable[Sample]) -> tuple[ImageIdentity, ...]:
    """Return the identities of the samples, each once, named as the samples are."""
    named = {sample.id: sample for sample in samples}
    return tuple(
        sample.identity().model_copy(update={"name": name}) for name, sample in named.items()
    )


if __name__ == "__main__":
    main()
