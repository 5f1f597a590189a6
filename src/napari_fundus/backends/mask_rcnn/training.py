"""Training of Mask R-CNN: its data, network, losses and figures for the common loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_fundus.backends.mask_rcnn.initial_unet import InitialUNet
from napari_fundus.backends.mask_rcnn.network import MaskRCNNArchitecture, build_network
from napari_fundus.backends.mask_rcnn.targets import (
    detection_target,
    objects_from_masks,
    predicted_objects,
)
from napari_fundus.backends.mask_rcnn.training_options import (
    FIXED_BY_UNET,
    SPEC,
    MaskRCNNTrainingOptions,
)
from napari_fundus.backends.mask_rcnn.weights import load_network
from napari_fundus.checkpoints import ModelCard
from napari_fundus.inference.card_preprocessing import preprocessing_from_card
from napari_fundus.metrics.coco_matching import count_instances, instance_metrics
from napari_fundus.preprocessing.network_input import normalize_pixels
from napari_fundus.results.objects import LesionObject
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training.loop.preflight import DataSummary
from napari_fundus.training.loop.settings import TrainingSettings
from napari_fundus.training.loop.trainer import Trainer, reject_set_options
from napari_fundus.training.patches.augment import AugmentationSettings
from napari_fundus.training.patches.data import annotated_classes
from napari_fundus.training.patches.options import PatchTrainingOptions
from napari_fundus.training.patches.sampling_tasks import LesionCentredTask
from napari_fundus.training.patches.task import PatchTaskSpec

_MARGIN = 2
"""Pixels by which lesions may come nearer to each other when patches are warped."""


class MaskRCNNTask(LesionCentredTask):
    """Patches in which a Mask R-CNN finds lesions, each with box, class and mask; see `PatchTask`.

    Attributes
    ----------
    start
        What a light network takes over from a U-Net; None where it starts anew.
    """

    name: ClassVar[str] = "mask_rcnn"
    best_metric: ClassVar[str] = "ap35"
    Options: ClassVar[type[PatchTrainingOptions]] = MaskRCNNTrainingOptions
    options: MaskRCNNTrainingOptions
    architecture: MaskRCNNArchitecture
    start: InitialUNet | None = None

    def make_spec(self) -> PatchTaskSpec:
        """Return what the training is of; reads the U-Net to begin with."""
        options, initial = self.options, self.initial
        if initial is None:
            lesions = options.lesions or annotated_classes(self.data, options.default_lesions)
            if options.kind == "light" and options.start:
                reject_set_options(options, FIXED_BY_UNET, of="the U-Net to begin with")
                self.start = InitialUNet.of(options.start)
            recipe = options.recipe() if self.start is None else self.start.recipe
            architecture = self._make_architecture(len(lesions), recipe.channel)
        else:
            reject_set_options(options, SPEC.fixed_by_checkpoint, of=initial)
            lesions, recipe = initial.card.lesions, preprocessing_from_card(initial)
            architecture = load_network(initial)[1]
        return PatchTaskSpec(lesions, recipe, architecture, options.patch)

    def augmentation_settings(self) -> AugmentationSettings:
        """Return how patches are turned and warped."""
        return super().augmentation_settings().model_copy(update={"shift": self.options.shift})

    @property
    def reach(self) -> int:
        """Pixels within which lesions drawn one by one are kept apart: thickened and zoomed."""
        return _MARGIN + 2 * self.options.dilations

    def _make_architecture(self, classes: int, channel: str) -> MaskRCNNArchitecture:
        options = self.options
        planes = 1 if channel == "green" else 3
        if options.kind != "light":
            return MaskRCNNArchitecture.of_the_paper(
                options.kind,
                planes=planes,
                classes=classes,
                norm="frozen" if options.pretrained else "batch",
            )
        return MaskRCNNArchitecture(
            planes=planes,
            classes=classes,
            filters=options.filters if self.start is None else self.start.filters,
            channels=options.channels,
            hidden=options.hidden,
            mask_channels=options.mask_channels,
        )

    def prepare(self, settings: TrainingSettings, monitor: Monitor) -> DataSummary:
        """Read both parts, prepared, into memory; what the U-Net has seen cannot be held back."""
        if self.start is not None and not settings.allow_leakage:
            self.start.check(self.data, self.healthy, settings, self.recipe, self.lesions)
        return super().prepare(settings, monitor)

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
        place = images.device
        targets = []
        for own, drawn, annotated in zip(
            planes.cpu().numpy(), _drawn(batch), batch["annotated"], strict=True
        ):
            target = detection_target(
                own, annotated, self.lesions, drawn=drawn, dilations=self.options.dilations
            )
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
        images = normalize_pixels(batch["images"])
        weights = batch["weights"].amax(dim=(2, 3)).cpu()
        masks = batch["masks"].cpu().numpy()
        shape = (int(images.shape[-2]), int(images.shape[-1]))
        sums: dict[str, Tensor | float] = {}
        for result, own, drawn, weight in zip(
            network(list(images)), masks, _drawn(batch), weights, strict=True
        ):
            truth = objects_from_masks(
                own, self.lesions, drawn=drawn, dilations=self.options.dilations
            )
            found = predicted_objects(result, self.lesions, shape)
            for code, counts in zip(self.lesions, weight.tolist(), strict=True):
                if not counts:
                    continue
                lesions, marked = ([o for o in part if o.lesion == code] for part in (truth, found))
                for name, value in count_instances(lesions, marked, shape, weight=counts).items():
                    sums[f"{code}_{name}"] = sums.get(f"{code}_{name}", 0.0) + value
        return sums

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Return average precision at the working scale, at an overlap of .35 and .50.

        The mean over the classes that the validation part has, and each one's. A class weighs in
        the mean by the square root of how many lesions it has: its figure errs by about one over
        that root, so that each class adds as much noise to what decides on the best epoch. With
        equal weights that of the rarest would decide, with the numbers themselves that of the
        commonest alone.
        """
        by_class: dict[str, dict[str, float]] = {}
        weights: dict[str, float] = {}
        for code in self.lesions:
            own = {n.removeprefix(f"{code}_"): v for n, v in sums.items() if n.startswith(code)}
            metrics = instance_metrics(own)
            if all(np.isfinite(value) for value in metrics.values()):
                by_class[code] = metrics
                weights[code] = own["lesions"] ** 0.5
        names = list(next(iter(by_class.values()), {}))
        mean = {
            name: sum(weights[c] * f[name] for c, f in by_class.items()) / sum(weights.values())
            for name in names
        }
        return {**mean, **{f"ap35_{code}": f["ap35"] for code, f in by_class.items()}}

    def probability(self, network: nn.Module, images: Tensor) -> Tensor:
        """Return maps of the surest lesion's score at each pixel."""
        shape = (int(images.shape[-2]), int(images.shape[-1]))
        maps = torch.zeros(len(images), len(self.lesions), *shape)
        for own, result in zip(maps.numpy(), network(list(images)), strict=True):
            for found in reversed(predicted_objects(result, self.lesions, shape)):
                _paint(own[self.lesions.index(found.lesion)], found)
        return maps

    def card(self, settings: TrainingSettings) -> ModelCard:
        """Return the card; the U-Net that the network began with is its parent."""
        card = super().card(settings)
        return card if self.start is None else card.model_copy(update={"parent": self.start.parent})


def _drawn(batch: Mapping[str, Any]) -> Sequence[npt.NDArray[np.int32] | None]:
    """Return for each picture the numbers of the lesions drawn one by one, or None."""
    objects = batch.get("objects")
    return [None] * len(batch["images"]) if objects is None else list(objects.cpu().numpy())


def _paint(plane: np.ndarray[Any, np.dtype[np.float32]], found: LesionObject) -> None:
    height, width = found.mask.shape
    plane[found.row : found.row + height, found.col : found.col + width][found.mask] = found.score


train_mask_rcnn = Trainer(
    MaskRCNNTask,
    MaskRCNNTrainingOptions,
    detector=MaskRCNNTask.name,
    what="a Mask R-CNN",
    defaults=SPEC.defaults,
)
