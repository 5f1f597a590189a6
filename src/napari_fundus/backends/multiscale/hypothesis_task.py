"""Training of one scale's hypothesis network: its network, patches and loss for the common loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from napari_fundus.backends.multiscale.frrn import FRRN, FRRNArchitecture
from napari_fundus.backends.multiscale.parts import architecture_of, recipe_of, stages_of
from napari_fundus.backends.multiscale.stage_card import joined_card, joined_tensors
from napari_fundus.backends.multiscale.training_options import MultiscaleTrainingOptions
from napari_fundus.checkpoints import Checkpoint, ModelCard
from napari_fundus.datasets import Dataset
from napari_fundus.errors import OptionsError, TrainingError
from napari_fundus.lesions import Lesion
from napari_fundus.training.losses import bce_dice_loss
from napari_fundus.training.patch_data import Parts
from napari_fundus.training.patch_task import PatchTask
from napari_fundus.training.samplers import BalancedSampler
from napari_fundus.training.settings import TrainingSettings
from napari_fundus.training.store import PatchStore

__all__ = ["HypothesisTask", "healthy_indices"]

_GRID = 4
"""Pixels between neighbouring places of patches."""
_LONGEST_EPOCH = 1000
"""Steps, as in the paper."""


class HypothesisTask(PatchTask):
    """Patches in which a network of one scale marks the microaneurysms.

    Parameters
    ----------
    data, healthy
        As in :func:`train_multiscale`, opened.
    options
        Stage, network, scale, patches and loss.
    known
        The file of the stages trained before.
    name, command
        For the model card.

    Raises
    ------
    OptionsError
        The patch does not fit the network.
    """

    name: ClassVar[str] = "multiscale"

    def __init__(
        self,
        data: Dataset,
        healthy: Dataset | None = None,
        *,
        options: MultiscaleTrainingOptions | None = None,
        known: Checkpoint | None = None,
        name: str = "multiscale",
        command: str = "",
    ) -> None:
        self.options = options or MultiscaleTrainingOptions()
        self.known, self.stage = known, self.options.stage
        recipe = self.options.recipe()
        self.architecture = FRRNArchitecture(
            width=self.options.width,
            stem=self.options.stem,
            planes=1 if self.options.channel == "green" else 3,
        )
        if known is not None and self.stage in stages_of(known):
            recipe = recipe_of(known, self.stage)
            told = architecture_of(known, self.stage)
            self.architecture = FRRNArchitecture.model_validate(told)
        if self.options.patch % self.architecture.multiple:
            raise OptionsError(
                f"Setting 'patch' = {self.options.patch}: this network needs a multiple of "
                f"{self.architecture.multiple}."
            )
        super().__init__(
            data,
            healthy,
            lesions=(Lesion.MA,),
            recipe=recipe,
            patch=self.options.patch,
            options=self.options,
            initial=known,
            name=name,
            command=command,
        )

    @property
    def lesion_tiles(self) -> int:
        """How many validation tiles with a lesion are drawn; 0 for all."""
        return 4 * self.options.validation_tiles

    def make_sampler(self, store: PatchStore, parts: Parts) -> BalancedSampler:
        """Return the sampler: a fixed share of the patches holds a lesion."""
        return BalancedSampler(
            store,
            self.patch,
            stride=_GRID,
            positive_share=self.options.positive_share,
            negatives_from=(
                healthy_indices(parts) if self.options.negatives == "healthy" else None
            ),
        )

    def build(self) -> FRRN:
        """Return the network."""
        return FRRN(self.architecture)

    def steps_per_epoch(self, settings: TrainingSettings) -> int:
        """Return how many batches hold as many lesion patches as there are, but 1000 at most."""
        wanted = max(settings.batch_size * self.options.positive_share, 1)
        positive = cast("BalancedSampler", self.sampler).positive
        return max(min(int(len(positive) / wanted), _LONGEST_EPOCH), 1)

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Return the weighted cross-entropy plus the soft Dice loss."""
        return bce_dice_loss(
            network(batch["images"]),
            batch["masks"],
            batch["annotated"],
            unknown=batch.get("unknown"),
            bce_weight=self.options.bce_weight,
            dice_weight=self.options.dice_weight,
            positive_weights=[self.options.lesion_weight],
        )

    def probability(self, network: nn.Module, images: Tensor) -> Tensor:
        """Return the map."""
        return cast("Tensor", network(images)).sigmoid()

    def kept(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the new file's tensors: this stage's beside those trained before."""
        return joined_tensors(self.stage, tensors, self.known)

    def card(self, settings: TrainingSettings) -> ModelCard:
        """Return the card of all stages."""
        return joined_card(self.stage, super().card(settings), self.known)

    def architecture_card(self) -> dict[str, Any]:
        """Return what the network is built from."""
        return self.architecture.model_dump(mode="json")

    def options_card(self) -> dict[str, Any]:
        """Return the method's options."""
        return self.options.model_dump(mode="json")


def healthy_indices(parts: Parts) -> range:
    """Return the indices, in the store of a training, of the images without any disease.

    Raises
    ------
    TrainingError
        There is none.
    """
    if not parts.healthy:
        raise TrainingError(
            "Patches without a lesion were to come from healthy images, but there is none: give a "
            "folder of them, or let them come from all images (--set negatives=all)."
        )
    return range(len(parts.train), len(parts.train) + len(parts.healthy))
