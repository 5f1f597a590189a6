"""The U-Net that a light Mask R-CNN begins with: it knows lesions before the first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_fundus.checkpoints import Parent, load_checkpoint
from napari_fundus.datasets import Dataset
from napari_fundus.errors import CheckpointError, LeakageError
from napari_fundus.inference.card_preprocessing import preprocessing_from_card
from napari_fundus.preprocessing import Recipe
from napari_fundus.training.loop.settings import TrainingSettings
from napari_fundus.training.patches.data import split_samples

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class InitialUNet:
    """What a light network takes over from a U-Net.

    Attributes
    ----------
    parent
        Name and hash of its file.
    tensors
        Its weights, without the last layer.
    filters
        Channels of its levels, the finest first.
    recipe
        The preprocessing that it was trained with.
    seen
        Ids of the samples that it was trained on.
    seed
        Of its training, which decided on them; None where the card does not tell.
    """

    parent: Parent
    tensors: Mapping[str, Tensor]
    filters: tuple[int, ...]
    recipe: Recipe
    seen: frozenset[str]
    seed: int | None

    @classmethod
    def of(cls, ref: str) -> InitialUNet:
        """Read the weights of a U-Net, by name or path; of two scales the finer one's.

        Raises
        ------
        CheckpointError
            There are none, or they are not of a plain U-Net with stem 2 and five levels.
        """
        checkpoint = load_checkpoint(ref, detector="unet")
        card = checkpoint.card
        architecture = card.architecture
        filters = tuple(architecture.get("filters", ()))
        if (architecture.get("kind"), architecture.get("stem"), len(filters)) != ("plain", 2, 5):
            raise CheckpointError(
                f"{checkpoint.path}: a light Mask R-CNN begins with one plain U-Net of stem 2 and "
                "five levels; this is another network."
            )
        own = "fine." if architecture.get("coarse") else ""
        tensors = {
            name.removeprefix(own): values
            for name, values in checkpoint.tensors.items()
            if name.startswith(own) and not name.startswith(f"{own}head.")
        }
        seed = card.recipe.get("training", {}).get("seed")
        return cls(
            Parent(name=card.name, sha256=checkpoint.sha256),
            tensors,
            filters,
            preprocessing_from_card(checkpoint),
            frozenset(card.split.train),
            seed if isinstance(seed, int) else None,
        )

    def give(self, unet: nn.Module) -> None:
        """Give `unet`, which has no last layer, the weights."""
        unet.load_state_dict(dict(self.tensors))

    def check(
        self,
        data: Dataset,
        healthy: Dataset | None,
        settings: TrainingSettings,
        recipe: Recipe,
        lesions: Sequence[str],
    ) -> None:
        """Look whether images are held back that the U-Net was trained on.

        Raises
        ------
        LeakageError
            Some are: the figures would be too good.
        """
        held = split_samples(data, healthy, settings, recipe, lesions).validation
        if known := [sample.id for sample in held if sample.id in self.seen]:
            cure = (
                ""
                if self.seed is None
                else f" Its own training held others back by seed {self.seed}: set seed to it."
            )
            raise LeakageError(
                f"The U-Net {self.parent.name!r} to begin with was trained on {len(known)} of the "
                f"{len(held)} images to hold back, {known[0]} among them.{cure}"
            )
