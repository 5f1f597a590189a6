"""Training of the voting detector: its data, network, loss and figures for the common loop."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from torch import Tensor, nn

from napari_fundus.backends.voting.network import PatchNetwork, PatchNetworkArchitecture
from napari_fundus.backends.voting.training_options import SPEC, VotingTrainingOptions
from napari_fundus.backends.voting.weights import load_network
from napari_fundus.errors import CheckpointError
from napari_fundus.inference.card_preprocessing import preprocessing_from_card
from napari_fundus.lesions import Lesion
from napari_fundus.training.loop.trainer import Trainer, reject_set_options
from napari_fundus.training.losses import bce_dice_loss, dice_loss
from napari_fundus.training.patches.options import PatchTrainingOptions
from napari_fundus.training.patches.sampling_tasks import BalancedSamplingTask
from napari_fundus.training.patches.task import PatchTaskSpec


class VotingTask(BalancedSamplingTask):
    """Patches in which a small network marks the microaneurysms; see `PatchTask`."""

    name: ClassVar[str] = "voting"
    Options: ClassVar[type[PatchTrainingOptions]] = VotingTrainingOptions
    options: VotingTrainingOptions
    architecture: PatchNetworkArchitecture

    def make_spec(self) -> PatchTaskSpec:
        """Return what the training is of."""
        options, initial = self.options, self.initial
        if initial is None:
            recipe = options.recipe()
            architecture = PatchNetworkArchitecture(
                patch=options.patch, widths=options.widths(), planes=options.planes
            )
        else:
            reject_set_options(
                options, SPEC.fixed_by_checkpoint, what="network and scale", of=initial
            )
            if initial.card.lesions != (Lesion.MA,):
                raise CheckpointError(f"{initial.path} does not find microaneurysms alone.")
            recipe, architecture = (
                preprocessing_from_card(initial),
                load_network(initial).architecture,
            )
        return PatchTaskSpec((Lesion.MA,), recipe, architecture, architecture.patch)

    @property
    def stride(self) -> int:
        """Pixels between neighbouring places of patches."""
        return self.options.stride

    def build(self) -> PatchNetwork:
        """Return the network."""
        return PatchNetwork(self.architecture)

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Return the loss over the whole batch."""
        unknown = batch.get("unknown")
        if self.options.loss == "dice":
            return dice_loss(network(batch["images"]), batch["masks"], unknown=unknown)
        return bce_dice_loss(
            network(batch["images"], as_logits=True),
            batch["masks"],
            unknown=unknown,
            bce_weight=self.options.bce_weight,
            positive_weights=[self.options.lesion_weight],
        )

    def probability(self, network: nn.Module, images: Tensor) -> Tensor:
        """Return the map of one vote a pixel."""
        return cast("Tensor", network(images))


train_voting = Trainer(
    VotingTask,
    VotingTrainingOptions,
    detector=VotingTask.name,
    what="a voting detector",
    data="microaneurysms annotated",
    checkpoint=(
        "Weights to start from, by name or path; network and preprocessing are then theirs."
    ),
)
