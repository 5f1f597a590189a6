"""Training of Mask R-CNN: its data, network, losses and figures for the common loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from napari_fundus.backends.mask_rcnn.network import Architecture, build_network, load_network
from napari_fundus.backends.mask_rcnn.start import Start
from napari_fundus.backends.mask_rcnn.targets import (
    objects_found,
    objects_of_planes,
    target_of,
)
from napari_fundus.backends.mask_rcnn.training_options import (
    LOOP_DEFAULTS,
    OF_THE_START,
    OF_THE_WEIGHTS,
    MaskRCNNTrainingOptions,
)
from napari_fundus.checkpoints import Checkpoint, ModelCard
from napari_fundus.datasets import Dataset
from napari_fundus.errors import OptionsError, TrainingError
from napari_fundus.inference.recipes import recipe_on_card
from napari_fundus.monitor import Monitor
from napari_fundus.objects import LesionObject
from napari_fundus.preprocessing.planes import as_input
from napari_fundus.training.augment import Augmentation, AugmentationSettings
from napari_fundus.training.events import TrainingEvent
from napari_fundus.training.instance_metrics import instance_metrics, instance_sums
from napari_fundus.training.loop import train
from napari_fundus.training.patch_data import Parts
from napari_fundus.training.patch_task import PatchTask
from napari_fundus.training.preflight import DataFacts
from napari_fundus.training.samplers import CentreSampler
from napari_fundus.training.settings import TrainingSettings
from napari_fundus.training.start import begin, opened, title_of
from napari_fundus.training.store import PatchStore

__all__ = ["MaskRCNNTask", "train_mask_rcnn"]


def train_mask_rcnn(
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
    """Train a Mask R-CNN; what is wrong with the arguments is told before the first event.

    Parameters
    ----------
    data
        A data set, or its folder, with lesions drawn. Its testing part is not touched.
    output
        Folder of the run; ``best.safetensors`` in it is what the detector uses.
    healthy
        Images without any sign of disease.
    checkpoint
        Weights to start from, by name or path; network, classes and preprocessing are then theirs.
    settings
        Fields of `TrainingSettings` and `MaskRCNNTrainingOptions` that differ from their defaults.
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
        MaskRCNNTrainingOptions,
        detector=MaskRCNNTask.name,
        checkpoint=checkpoint,
        defaults=LOOP_DEFAULTS,
    )
    task = MaskRCNNTask(
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


class MaskRCNNTask(PatchTask):
    """Patches in which a Mask R-CNN finds lesions, each with its box, class and mask.

    Parameters
    ----------
    data, healthy
        As in :func:`train_mask_rcnn`, opened.
    options
        Classes, network, patches.
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

    name: ClassVar[str] = "mask_rcnn"
    best_metric: ClassVar[str] = "ap35"

    def __init__(
        self,
        data: Dataset,
        healthy: Dataset | None = None,
        *,
        options: MaskRCNNTrainingOptions | None = None,
        initial: Checkpoint | None = None,
        name: str = "mask_rcnn",
        command: str = "",
    ) -> None:
        self.options = options or MaskRCNNTrainingOptions()
        self.start: Start | None = None
        if initial is None:
            lesions = self.options.lesions or _annotated(data)
            if self.options.kind == "light" and self.options.start:
                self._refuse(OF_THE_START, "the U-Net to begin with")
                self.start = Start.of(self.options.start)
            recipe = self.options.recipe() if self.start is None else self.start.recipe
            self.architecture = self._planned(len(lesions), recipe.channel)
        else:
            self._refuse(OF_THE_WEIGHTS, f"the weights {initial.card.name!r} to start from")
            lesions, recipe = initial.card.lesions, recipe_on_card(initial)
            self.architecture = load_network(initial)[1]
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
        chosen = self.options
        self._augment = Augmentation(
            AugmentationSettings(scale=chosen.zoom, rotation=chosen.rotation, shift=chosen.shift)
        )

    def _refuse(self, fields: frozenset[str], whose: str) -> None:
        if given := sorted(fields & self.options.model_fields_set):
            raise OptionsError(f"{', '.join(given)} cannot be set: they are those of {whose}.")

    def _planned(self, classes: int, channel: str) -> Architecture:
        options = self.options
        planes = 1 if channel == "green" else 3
        if options.kind != "light":
            return Architecture.of_the_paper(
                options.kind,
                planes=planes,
                classes=classes,
                norm="frozen" if options.pretrained else "batch",
            )
        return Architecture(
            planes=planes,
            classes=classes,
            filters=options.filters if self.start is None else self.start.filters,
            channels=options.channels,
            hidden=options.hidden,
            mask_channels=options.mask_channels,
        )

    @property
    def lesion_tiles(self) -> int:
        """How many validation tiles with a lesion are drawn; 0 for all."""
        return 4 * self.options.validation_tiles

    def prepare(self, settings: TrainingSettings, monitor: Monitor) -> DataFacts:
        """Read both parts, prepared, into memory; what the U-Net has seen cannot be held back."""
        if self.start is not None and not settings.allow_leakage:
            self.start.check(self.data, self.healthy, settings, self.recipe, self.lesions)
        return super().prepare(settings, monitor)

    def make_sampler(self, store: PatchStore, parts: Parts) -> CentreSampler:
        """Return the sampler: a share of the patches lies near a pixel of each class."""
        shares = {c: s for c, s in self.options.class_shares.items() if c in self.lesions}
        return CentreSampler(
            store, self.patch, class_shares=shares, area_power=self.options.area_power
        )

    def build(self) -> nn.Module:
        """Return the network."""
        network: nn.Module = build_network(
            self.architecture, pretrained=self.options.pretrained and self.initial is None
        )
        if self.start is not None:
            self.start.give(network.get_submodule("backbone.unet"))
        return network

    def parameter_groups(
        self, network: nn.Module, settings: TrainingSettings
    ) -> list[dict[str, Any]]:
        """Return the U-Net's weights apart, which learn slower or not at all."""
        if self.architecture.kind != "light":
            return [{"params": [p for p in network.parameters() if p.requires_grad]}]
        pyramid = network.get_submodule("backbone")
        known = list(pyramid.get_submodule("unet").parameters())
        rate = self.options.unet_rate
        pyramid.frozen = rate == 0  # type: ignore[assignment]
        for parameter in known if rate == 0 else ():
            parameter.requires_grad = False
        own = {id(p) for p in known}
        fresh = [p for p in network.parameters() if p.requires_grad and id(p) not in own]
        groups: list[dict[str, Any]] = [{"params": fresh}]
        if rate:
            groups.append({"params": known, "lr": rate * settings.learning_rate})
        return groups

    def steps_per_epoch(self, settings: TrainingSettings) -> int:
        """Return as many steps as show as many pixels as all images have."""
        pixels = sum(image.bits.size for image in self.sampler.store)
        return max(round(pixels / self.patch**2) // settings.batch_size, 1)

    def augment(self, batch: Any) -> Any:
        """Vary as for pixels; boxes and masks are then read from the varied masks.

        What no expert looked at is hidden under the neutral grey: there nothing can be learnt.
        """
        batch = super().augment(batch)
        images, planes = batch["images"], batch["masks"]
        if "unknown" in batch:
            images = images.masked_fill(batch["unknown"] > 0, 0.0)
        drawn = planes.cpu().numpy()
        place = images.device
        targets = []
        for own, annotated in zip(drawn, batch["annotated"], strict=True):
            target = target_of(own, annotated, self.lesions, dilations=self.options.dilations)
            targets.append(
                {n: v.to(place) if isinstance(v, Tensor) else v for n, v in target.items()}
            )
        return {**batch, "images": images, "targets": targets}

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Return the sum of the five losses: proposals and their boxes, classes, boxes, masks."""
        losses = network(list(batch["images"]), batch["targets"])
        total: Tensor = torch.stack(list(losses.values())).sum()
        return total

    def validate(self, network: nn.Module, batch: Any) -> Mapping[str, Tensor | float]:
        """Return how many lesions of each class were found, by their score."""
        images = as_input(batch["images"])
        weights = batch["weights"].amax(dim=(2, 3)).cpu()
        drawn = batch["masks"].cpu().numpy()
        shape = (int(images.shape[-2]), int(images.shape[-1]))
        sums: dict[str, Tensor | float] = {}
        for result, own, weight in zip(network(list(images)), drawn, weights, strict=True):
            truth = objects_of_planes(own, self.lesions, dilations=self.options.dilations)
            found = objects_found(result, self.lesions, shape)
            for code, counts in zip(self.lesions, weight.tolist(), strict=True):
                if not counts:
                    continue
                pair = ([o for o in part if o.lesion == code] for part in (found, truth))
                for name, value in instance_sums(*pair, weight=counts).items():
                    sums[f"{code}_{name}"] = sums.get(f"{code}_{name}", 0.0) + value
        return sums

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Return average precision at the working scale, at an overlap of .35 and .50.

        The mean over the classes that the validation part has, and each one's.
        """
        by_class: dict[str, dict[str, float]] = {}
        for code in self.lesions:
            own = {n.removeprefix(f"{code}_"): v for n, v in sums.items() if n.startswith(code)}
            figures = instance_metrics(own)
            if all(np.isfinite(value) for value in figures.values()):
                by_class[code] = figures
        names = list(next(iter(by_class.values()), {}))
        mean = {name: float(np.mean([f[name] for f in by_class.values()])) for name in names}
        return {**mean, **{f"ap35_{code}": f["ap35"] for code, f in by_class.items()}}

    def probability(self, network: nn.Module, images: Tensor) -> Tensor:
        """Return maps of the surest lesion's score at each pixel."""
        shape = (int(images.shape[-2]), int(images.shape[-1]))
        maps = torch.zeros(len(images), len(self.lesions), *shape)
        for own, result in zip(maps.numpy(), network(list(images)), strict=True):
            for found in reversed(objects_found(result, self.lesions, shape)):
                _paint(own[self.lesions.index(found.lesion)], found)
        return maps

    def card(self, settings: TrainingSettings) -> ModelCard:
        """Return the card; the U-Net that the network began with is its parent."""
        card = super().card(settings)
        return card if self.start is None else card.model_copy(update={"parent": self.start.parent})

    def architecture_card(self) -> dict[str, Any]:
        """Return what the network is built from."""
        return self.architecture.model_dump(mode="json")

    def options_card(self) -> dict[str, Any]:
        """Return the method's options."""
        return self.options.model_dump(mode="json")


def _paint(plane: np.ndarray[Any, np.dtype[np.float32]], found: LesionObject) -> None:
    height, width = found.mask.shape
    plane[found.row : found.row + height, found.col : found.col + width][found.mask] = found.score


def _annotated(data: Dataset) -> tuple[str, ...]:
    """Return the classes to train: those of the usual ones that are drawn somewhere."""
    drawn = {str(code) for s in data if s.split != "test" for code in s.truths}
    usual = MaskRCNNTrainingOptions.default_lesions
    found = tuple(code for code in usual if code in drawn)
    if not found:
        raise TrainingError(
            f"{data.root} has none of the classes {', '.join(usual)} drawn in any image: name the "
            "classes to train on."
        )
    return found
