"""Training of the U-Net: its data, network and loss for the common loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from napari_fundus.backends.unet.network import UNetArchitecture, build_network
from napari_fundus.backends.unet.training_options import SPEC, UNetTrainingOptions
from napari_fundus.backends.unet.weights import load_network
from napari_fundus.inference.card_preprocessing import preprocessing_from_card
from napari_fundus.training.loop.settings import TrainingSettings
from napari_fundus.training.loop.trainer import Trainer, reject_set_options
from napari_fundus.training.losses import bce_dice_loss
from napari_fundus.training.patches.data import annotated_classes
from napari_fundus.training.patches.options import PatchTrainingOptions
from napari_fundus.training.patches.sampling_tasks import LesionCentredTask, check_patch_size
from napari_fundus.training.patches.task import PatchTaskSpec


class UNetTask(LesionCentredTask):
    """Patches in which a U-Net marks the pixels of each class; see `PatchTask`."""

    name: ClassVar[str] = "unet"
    Options: ClassVar[type[PatchTrainingOptions]] = UNetTrainingOptions
    options: UNetTrainingOptions
    architecture: UNetArchitecture

    def make_spec(self) -> PatchTaskSpec:
        """Return what the training is of."""
        options, initial = self.options, self.initial
        if initial is None:
            lesions = options.lesions or annotated_classes(self.data, options.default_lesions)
            recipe = options.recipe()
            architecture = UNetArchitecture(
                kind=options.kind,
                planes=options.planes,
                outputs=len(lesions),
                filters=options.filters,
                stem=options.stem,
                encoder=options.encoder,
            )
        else:
            reject_set_options(
                options, SPEC.fixed_by_checkpoint, what="network, classes and scale", of=initial
            )
            lesions, recipe = initial.card.lesions, preprocessing_from_card(initial)
            architecture = load_network(initial)[1]
        check_patch_size(options.patch, architecture.multiple)
        return PatchTaskSpec(lesions, recipe, architecture, options.patch)

    def build(self) -> nn.Module:
        """Return the network."""
        pretraining = self.options.encoder_weights if self.initial is None else ""
        return build_network(self.architecture, encoder_weights=pretraining or None)

    def steps_per_epoch(self, settings: TrainingSettings) -> int:
        """Return as many steps as let each image give about ten patches."""
        return max(10 * len(self.sampler.store) // settings.batch_size, 1)

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Return the weighted cross-entropy plus the Dice loss, over annotated classes."""
        options = self.options

        def by_class(weights: Mapping[str, float]) -> list[float]:
            return [weights.get(code, 1.0) for code in self.lesions]

        return bce_dice_loss(
            network(batch["images"]),
            batch["masks"],
            batch["annotated"],
            unknown=batch.get("unknown"),
            bce_weight=options.bce_weight,
            dice_weight=options.dice_weight,
            class_weights=by_class(options.class_weights),
            positive_weights=by_class(options.lesion_weights),
        )


train_unet = Trainer(
    UNetTask,
    UNetTrainingOptions,
    detector=UNetTask.name,
    what="a U-Net",
    data="lesions drawn, be it as rectangles of the VGG Image Annotator",
    defaults=SPEC.defaults,
)
