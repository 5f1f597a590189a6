"""Training of the U-Net: its data, network and loss for the common loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from napari_fundus.backends.unet.detector import load_network
from napari_fundus.backends.unet.network import Architecture, build_network
from napari_fundus.backends.unet.training_options import (
    LOOP_DEFAULTS,
    OF_THE_WEIGHTS,
    UNetTrainingOptions,
)
from napari_fundus.checkpoints import Checkpoint
from napari_fundus.datasets import Dataset
from napari_fundus.errors import OptionsError, TrainingError
from napari_fundus.inference.recipes import recipe_on_card
from napari_fundus.monitor import Monitor
from napari_fundus.training.events import TrainingEvent
from napari_fundus.training.loop import train
from napari_fundus.training.losses import bce_dice_loss
from napari_fundus.training.patch_data import Parts
from napari_fundus.training.patch_task import PatchTask
from napari_fundus.training.samplers import CentreSampler
from napari_fundus.training.settings import TrainingSettings
from napari_fundus.training.start import begin, opened, title_of
from napari_fundus.training.store import PatchStore

__all__ = ["UNetTask", "train_unet"]


def train_unet(
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
    """Train a U-Net; what is wrong with the arguments is told before the first event.

    Parameters
    ----------
    data
        A data set, or its folder, with lesions drawn; also rectangles of the VGG Image Annotator.
        Its testing part is not touched.
    output
        Folder of the run; ``best.safetensors`` in it is what the detector uses.
    healthy
        Images without any sign of disease.
    checkpoint
        Weights to start from, by name or path; network, classes and preprocessing are then theirs.
    settings
        Fields of `TrainingSettings` and `UNetTrainingOptions` that differ from their defaults.
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
        settings,
        UNetTrainingOptions,
        detector=UNetTask.name,
        checkpoint=checkpoint,
        defaults=LOOP_DEFAULTS,
    )
    task = UNetTask(
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


class UNetTask(PatchTask):
    """Patches in which a U-Net marks the pixels of each class.

    Parameters
    ----------
    data, healthy
        As in :func:`train_unet`, opened.
    options
        Classes, network, scale, patches and loss.
    initial
        Weights to start from.
    name, command
        For the model card.

    Raises
    ------
    OptionsError
        An option contradicts the weights to start from.
    TrainingError
        None of the classes is annotated in the data.
    """

    name: ClassVar[str] = "unet"

    def __init__(
        self,
        data: Dataset,
        healthy: Dataset | None = None,
        *,
        options: UNetTrainingOptions | None = None,
        initial: Checkpoint | None = None,
        name: str = "unet",
        command: str = "",
    ) -> None:
        self.options = options or UNetTrainingOptions()
        if initial is None:
            lesions = self.options.lesions or _annotated(data)
            recipe = self.options.recipe()
            self.architecture = Architecture(
                kind=self.options.kind,
                planes=1 if self.options.channel == "green" else 3,
                outputs=len(lesions),
                filters=self.options.filters,
                stem=self.options.stem,
                encoder=self.options.encoder,
            )
        else:
            if given := sorted(OF_THE_WEIGHTS & self.options.model_fields_set):
                raise OptionsError(
                    f"{', '.join(given)} cannot be set: network, classes and scale are those of "
                    f"the weights {initial.card.name!r} to start from."
                )
            lesions, recipe = initial.card.lesions, recipe_on_card(initial)
            self.architecture = load_network(initial)[1]
        if self.options.patch % self.architecture.multiple:
            raise OptionsError(
                f"Setting 'patch' = {self.options.patch}: this network needs a multiple of "
                f"{self.architecture.multiple}."
            )
        super().__init__(
            data,
            healthy,
            lesions=lesions,
            recipe=recipe,
            patch=self.options.patch,
            options=self.options,
            initial=initial,
            name=name,
            command=command,
        )

    @property
    def lesion_tiles(self) -> int:
        """How many validation tiles with a lesion are drawn; 0 for all."""
        return 4 * self.options.validation_tiles

    def make_sampler(self, store: PatchStore, parts: Parts) -> CentreSampler:
        """Return the sampler: a share of the patches lies near a pixel of each class."""
        shares = {c: s for c, s in self.options.class_shares.items() if c in self.lesions}
        return CentreSampler(
            store, self.patch, class_shares=shares, area_power=self.options.area_power
        )

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

    def probability(self, network: nn.Module, images: Tensor) -> Tensor:
        """Return the maps."""
        return cast("Tensor", network(images)).sigmoid()

    def architecture_card(self) -> dict[str, Any]:
        """Return what the network is built from."""
        return self.architecture.model_dump(mode="json")

    def options_card(self) -> dict[str, Any]:
        """Return the method's options."""
        return self.options.model_dump(mode="json")


def _annotated(data: Dataset) -> tuple[str, ...]:
    """Return the classes to train: those of the usual ones that are drawn somewhere."""
    drawn = {str(code) for s in data if s.split != "test" for code in s.truths}
    found = tuple(str(c) for c in UNetTrainingOptions.default_lesions if c in drawn)
    if not found:
        raise TrainingError(
            f"{data.root} has none of the classes {', '.join(UNetTrainingOptions.default_lesions)} "
            "drawn in any image: name the classes to train on."
        )
    return found
