"""Put two trained U-Nets, one of them of half the scale, into one file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from napari_fundus.checkpoints import Checkpoint, ModelCard
from napari_fundus.errors import CheckpointError, OptionsError
from napari_fundus.inference.card_preprocessing import preprocessing_from_card

if TYPE_CHECKING:
    from torch import Tensor

FINE, COARSE = "fine", "coarse"
"""Names of the two networks in the file; those of its tensors begin with them."""


def merge_scales(
    fine: Checkpoint,
    coarse: Checkpoint,
    *,
    shares: Mapping[str, float] | None = None,
    offsets: Mapping[str, float] | None = None,
) -> tuple[Mapping[str, Tensor], ModelCard]:
    """Return tensors and card of the detector that averages both networks.

    Parameters
    ----------
    fine
        Its preprocessing is that of the whole.
    coarse
        Trained on the same classes, at half the disc's diameter and half the blur.
    shares
        Weight of the coarse network's logits in the mean, 0 to 1, for each class; .5 where it is
        not given.
    offsets
        What is added to the mean of the logits of a class, -20 to 20; 0 where it is not given. Less
        than 0 finds fewer lesions at the same threshold.

    Raises
    ------
    CheckpointError
        The two do not go together; the message says why.
    OptionsError
        A share or an offset is of an unknown class, or out of its range.
    """
    recipe, other = preprocessing_from_card(fine), preprocessing_from_card(coarse)
    halved = recipe.model_copy(
        update={"disc_diameter": recipe.disc_diameter / 2, "sigma": recipe.sigma / 2}
    )
    if other != halved:
        raise CheckpointError(
            f"{coarse.path}: trained on discs of {other.disc_diameter:g} px (blur "
            f"{other.sigma:g} px). Beside {fine.card.name!r} it must be trained on "
            f"{halved.disc_diameter:g} px, with a blur of {halved.sigma:g} px, and the same "
            "enhancement."
        )
    if coarse.card.lesions != fine.card.lesions:
        raise CheckpointError(
            f"{coarse.path} finds {', '.join(coarse.card.lesions)}; {fine.card.name!r} finds "
            f"{', '.join(fine.card.lesions)}. Both must know the same classes in the same order."
        )
    if nested := [c.path for c in (fine, coarse) if c.card.architecture.get(COARSE)]:
        raise CheckpointError(f"{nested[0]} holds two scales already.")
    given = dict(shares or {})
    odd = [c for c, share in given.items() if c not in fine.card.lesions or not 0 <= share <= 1]
    if odd:
        raise OptionsError(
            f"Share of {', '.join(odd)}: shares are from 0 to 1, of the classes "
            f"{', '.join(fine.card.lesions)}."
        )
    added = dict(offsets or {})
    odd = [c for c, more in added.items() if c not in fine.card.lesions or not -20 <= more <= 20]
    if odd:
        raise OptionsError(
            f"Offset of {', '.join(odd)}: offsets are from -20 to 20, of the classes "
            f"{', '.join(fine.card.lesions)}."
        )
    tensors = {
        f"{part}.{key}": values
        for part, checkpoint in ((FINE, fine), (COARSE, coarse))
        for key, values in checkpoint.tensors.items()
    }
    parts = [checkpoint.card.split for checkpoint in (fine, coarse)]
    # Where one knows names alone, hashes of the other would hide what it has seen.
    hashed = all(part.train_images or not part.train for part in parts)
    images = dict.fromkeys(image for part in parts for image in part.train_images if hashed)
    seen = set(fine.card.split.train) | set(coarse.card.split.train)
    split = fine.card.split.model_copy(
        update={
            "train": tuple(sorted(seen)),
            "validation": tuple(v for v in fine.card.split.validation if v not in seen),
            "train_images": tuple(images),
            "validation_images": tuple(
                image
                for image in fine.card.split.validation_images
                if hashed and image.name not in seen
            ),
        }
    )
    card = fine.card.model_copy(
        update={
            "architecture": {
                **fine.card.architecture,
                COARSE: coarse.card.architecture,
                "coarse_share": [given.get(code, 0.5) for code in fine.card.lesions],
                "offset": [added.get(code, 0.0) for code in fine.card.lesions] if added else [],
            },
            "split": split,
            "metrics": {},
            "command": f"{fine.card.command} && {coarse.card.command}",
        }
    )
    return tensors, card
