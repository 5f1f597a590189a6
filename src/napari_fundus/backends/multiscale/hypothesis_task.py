"""Training of one scale's hypothesis network: its network, patches and loss for the common loop."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from napari_fundus.backends.multiscale.frrn import FRRN, FRRNArchitecture
from napari_fundus.backends.multiscale.stage_task import StageTask
from napari_fundus.backends.multiscale.stages import (
    checkpoint_stages,
    stage_architecture,
    stage_recipe,
)
from napari_fundus.backends.multiscale.training_options import MultiscaleTrainingOptions
from napari_fundus.lesions import Lesion
from napari_fundus.training.losses import bce_dice_loss
from napari_fundus.training.patches.sampling_tasks import BalancedSamplingTask, check_patch_size
from napari_fundus.training.patches.task import PatchTaskSpec


class HypothesisTask(StageTask, BalancedSamplingTask):
    """Patches in which a network of one scale marks the microaneurysms; see `PatchTask`."""

    options: MultiscaleTrainingOptions
    architecture: FRRNArchitecture

    def make_spec(self) -> PatchTaskSpec:
        """Return what the training is of; the stage's own weights, where there are some, decide."""
        options, known = self.options, self.initial
        if known is not None and self.stage in checkpoint_stages(known):
            recipe = stage_recipe(known, self.stage)
            architecture = FRRNArchitecture.model_validate(stage_architecture(known, self.stage))
        else:
            recipe = options.recipe()
            architecture = FRRNArchitecture(
                width=options.width, stem=options.stem, planes=options.planes
            )
        check_patch_size(options.patch, architecture.multiple)
        return PatchTaskSpec((Lesion.MA,), recipe, architecture, options.patch)

    @property
    def lesion_tile_limit(self) -> int:
        """How many validation tiles with a lesion are drawn; 0 for all."""
        return 4 * self.options.validation_tiles

    def build(self) -> FRRN:
        """Return the network."""
        return FRRN(self.architecture)

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
