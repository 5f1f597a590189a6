"""Training of the voting detector: its data, network, loss and figures for the common loop."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from napari_fundus.backends.voting.detector import load_network
from napari_fundus.backends.voting.network import Architecture, PatchNetwork
from napari_fundus.backends.voting.training_options import OF_THE_WEIGHTS, VotingTrainingOptions
from napari_fundus.checkpoints import Checkpoint
from napari_fundus.datasets import Dataset
from napari_fundus.errors import CheckpointError, OptionsError, TrainingError
from napari_fundus.inference.recipes import recipe_on_card
from napari_fundus.lesions import Lesion
from napari_fundus.monitor import Monitor
from napari_fundus.training.events import TrainingEvent
from napari_fundus.training.loop import train
from napari_fundus.training.losses import bce_dice_loss, dice_loss
from napari_fundus.training.patch_data import Parts
from napari_fundus.training.patch_task import PatchTask
from napari_fundus.training.samplers import BalancedSampler
from napari_fundus.training.settings import TrainingSettings
from napari_fundus.training.start import begin, opened, title_of
from napari_fundus.training.store import PatchStore

__all__ = ["VotingTask", "train_voting"]

_LONGEST_EPOCH = 1000


def train_voting(
    *,
    data: str | Path | Dataset,
    output: str | Path,
    healthy: str | Path | Dataset | None = None,
    checkpoint: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    name: str = "",
    command: str = "",
    device: str = "auto",
    monitor: Monitor | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Iterator[TrainingEvent]:
    """Train a voting detector; what is wrong with the arguments is told before the first event.

    Parameters
    ----------
    data
        A data set, or its folder, with microaneurysms annotated. Its testing part is not touched.
    output
        Folder of the run; ``best.safetensors`` in it is what the detector uses.
    healthy
        Images without any sign of disease, as further patches without a lesion.
    checkpoint
        Weights to start from, by name or path; network and preprocessing are then theirs.
    settings
        Fields of `TrainingSettings` and `VotingTrainingOptions` that differ from their defaults.
    name
        Of the new weights; the name of the folder if left out.
    command
        For the model card.
    device, monitor, resume, overwrite
        As in :func:`napari_fundus.training.train`.

    Raises
    ------
    OptionsError
        A setting is unknown or out of bounds, or does not go with `checkpoint`.
    DatasetError, CheckpointError, TrainingError, DeviceError
        Data, weights, folder or device cannot be used.
    """
    shared, options, initial = begin(
        settings, VotingTrainingOptions, detector=VotingTask.name, checkpoint=checkpoint
    )
    task = VotingTask(
        opened(data),
        None if healthy is None else opened(healthy),
        options=options,
        initial=initial,
        name=title_of(name, output),
        command=command,
    )
    return train(
        task,
        shared,
        output,
        device=device,
        monitor=monitor,
        resume=resume,
        overwrite=overwrite,
        initial=initial,
    )


class VotingTask(PatchTask):
    """Patches in which a small network marks the microaneurysms.

    Parameters
    ----------
    data, healthy
        As in :func:`train_voting`, opened.
    options
        Network, scale, patches and loss.
    initial
        Weights to start from.
    name, command
        For the model card.

    Raises
    ------
    OptionsError
        An option contradicts the weights to start from.
    CheckpointError
        Those weights are for another class of lesion.
    """

    name: ClassVar[str] = "voting"

    def __init__(
        self,
        data: Dataset,
        healthy: Dataset | None = None,
        *,
        options: VotingTrainingOptions | None = None,
        initial: Checkpoint | None = None,
        name: str = "voting",
        command: str = "",
    ) -> None:
        self.options = options or VotingTrainingOptions()
        recipe = self.options.recipe()
        self.architecture = Architecture(
            patch=self.options.patch,
            widths=self.options.widths(),
            planes=1 if self.options.channel == "green" else 3,
        )
        if initial is not None:
            if given := sorted(OF_THE_WEIGHTS & self.options.model_fields_set):
                raise OptionsError(
                    f"{', '.join(given)} cannot be set: network and scale are those of the weights "
                    f"{initial.card.name!r} to start from."
                )
            if initial.card.lesions != (Lesion.MA,):
                raise CheckpointError(f"{initial.path} does not find microaneurysms alone.")
            recipe = recipe_on_card(initial)
            self.architecture = load_network(initial).architecture
        super().__init__(
            data,
            healthy,
            lesions=(Lesion.MA,),
            recipe=recipe,
            patch=self.architecture.patch,
            options=self.options,
            initial=initial,
            name=name,
            command=command,
        )

    def make_sampler(self, store: PatchStore, parts: Parts) -> BalancedSampler:
        """Return the sampler: a fixed share of the patches holds a lesion."""
        return BalancedSampler(
            store,
            self.patch,
            stride=self.options.stride,
            positive_share=self.options.positive_share,
            negatives_from=self._negatives(parts),
        )

    def _negatives(self, parts: Parts) -> Collection[int] | None:
        if self.options.negatives == "all":
            return None
        if not parts.healthy:
            raise TrainingError(
                "Patches without a lesion were to come from healthy images, but there is none: "
                "give a folder of them, or let them come from all images."
            )
        return range(len(parts.train), len(parts.train) + len(parts.healthy))

    def build(self) -> PatchNetwork:
        """Return the network."""
        return PatchNetwork(self.architecture)

    def steps_per_epoch(self, settings: TrainingSettings) -> int:
        """Return how many batches hold as many lesion patches as there are, but 1000 at most."""
        wanted = settings.batch_size * self.options.positive_share
        positive = cast("BalancedSampler", self.sampler).positive
        return max(min(int(len(positive) / wanted), _LONGEST_EPOCH), 1)

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

    def architecture_card(self) -> dict[str, Any]:
        """Return what the network is built from."""
        return self.architecture.model_dump(mode="json")

    def options_card(self) -> dict[str, Any]:
        """Return the method's options."""
        return self.options.model_dump(mode="json")
