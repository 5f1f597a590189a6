"""Base of all trainings on patches: data, batches, augmentation, validation, preview."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel
from torch import Tensor, nn

from napari_fundus.checkpoints import Checkpoint, ModelCard
from napari_fundus.datasets import Dataset
from napari_fundus.errors import OptionsError, TrainingError
from napari_fundus.lesions import describe
from napari_fundus.metrics.precision_recall import count_pixels, pixel_metrics
from napari_fundus.preprocessing import Recipe
from napari_fundus.preprocessing.network_input import denormalize_pixels, normalize_pixels
from napari_fundus.runtime.progress import Monitor
from napari_fundus.runtime.text import check_class_codes
from napari_fundus.training.loop.events import Patches
from napari_fundus.training.loop.preflight import DataSummary, SampleSummary, SplitSummary
from napari_fundus.training.loop.settings import TrainingSettings
from napari_fundus.training.loop.task import Task
from napari_fundus.training.losses import bce_dice_loss
from napari_fundus.training.patches.augment import Augmentation, AugmentationSettings
from napari_fundus.training.patches.data import (
    TrainingSplit,
    load_patch_store,
    sample_validation_tiles,
    split_samples,
)
from napari_fundus.training.patches.folds import other_views
from napari_fundus.training.patches.options import PatchTrainingOptions
from napari_fundus.training.patches.samplers import PatchSampler
from napari_fundus.training.patches.split_image import split_image
from napari_fundus.training.patches.store import PatchBatch, PatchStore

_TILE_PIXELS = 1 << 18
"""Pixels of a validation batch."""
_PREVIEW_SIDE = 256
_SIDE_MULTIPLE = 32


@dataclass(frozen=True)
class PatchTaskSpec:
    """What a training is of, as options and the weights to start from decide.

    Attributes
    ----------
    lesions
        Codes of the classes, in the order of the network's maps.
    recipe
        Preprocessing.
    architecture
        What the network is built from.
    patch
        Side of the patches at the working scale.
    """

    lesions: Sequence[str]
    recipe: Recipe
    architecture: BaseModel
    patch: int

    def __post_init__(self) -> None:
        try:
            check_class_codes(self.lesions)
        except ValueError as error:
            raise TrainingError(f"These classes cannot be trained: {error}.") from None


class PatchTask(Task):
    """Patches in which a network marks the pixels of lesions, one map a class.

    A subclass gives the spec, the sampler and the network, and may give another loss.

    Parameters
    ----------
    data
        A data set with lesions drawn. Its testing part is not touched.
    healthy
        Images without any sign of disease.
    options
        Classes, network, scale, patches, variation and loss; the defaults if left out.
    initial
        Weights to start from.
    name, command
        For the model card; the name is the method's if left out.

    Attributes
    ----------
    Options
        Model of the method's options.
    options, architecture
        What was chosen, and what the network is built from.

    Raises
    ------
    OptionsError
        An option contradicts the weights to start from, or does not fit the network.
    CheckpointError, TrainingError
        Weights or data are not of the classes wanted.
    """

    best_metric: ClassVar[str] = "average_precision"
    higher_is_better: ClassVar[bool] = True
    Options: ClassVar[type[PatchTrainingOptions]]
    options: PatchTrainingOptions
    architecture: BaseModel

    def __init__(
        self,
        data: Dataset,
        healthy: Dataset | None = None,
        *,
        options: PatchTrainingOptions | None = None,
        initial: Checkpoint | None = None,
        name: str = "",
        command: str = "",
    ) -> None:
        self.data, self.healthy = data, healthy
        self.options = options or self.Options()
        self.initial = initial
        self._title, self._command = name or self.name, command
        spec = self.make_spec()
        if spec.recipe.standardize:
            raise OptionsError("Weights whose recipe standardizes cannot be trained further here.")
        self.lesions = tuple(map(str, spec.lesions))
        self.recipe, self.architecture, self.patch = spec.recipe, spec.architecture, spec.patch
        self._augment = Augmentation(self.augmentation_settings())

    @abstractmethod
    def make_spec(self) -> PatchTaskSpec:
        """Return classes, recipe, architecture and patch side; data and options are set by then."""

    def augmentation_settings(self) -> AugmentationSettings:
        """Return how patches are turned and warped."""
        return AugmentationSettings(scale=self.options.zoom, rotation=self.options.rotation)

    @property
    def reach(self) -> int | None:
        """Pixels within which lesions drawn one by one are kept apart; None: masks are enough."""
        return None

    @property
    def lesion_tile_limit(self) -> int:
        """How many validation tiles with a lesion are drawn; 0 for all."""
        return 0

    @abstractmethod
    def make_sampler(self, store: PatchStore, parts: TrainingSplit) -> PatchSampler:
        """Return what draws the patches of a batch."""

    def probability(self, network: nn.Module, images: Tensor) -> Tensor:
        """Return maps in [0, 1], float (B, K, S, S), of input float (B, P, S, S).

        By default the network returns logits.
        """
        return cast("Tensor", network(images)).sigmoid()

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Return the loss of a batch.

        By default the network returns logits, and the loss is the cross-entropy plus the Dice loss
        over the annotated classes.
        """
        truth, annotated = batch["masks"], batch["annotated"]
        return bce_dice_loss(
            network(batch["images"]), truth, annotated, unknown=batch.get("unknown")
        )

    def prepare(self, settings: TrainingSettings, monitor: Monitor) -> DataSummary:
        """Read both parts, prepared, into memory."""
        parts = split_samples(self.data, self.healthy, settings, self.recipe, self.lesions)
        samples = [*parts.train, *parts.healthy]
        share = 0.01 + 0.98 * len(samples) / (len(samples) + len(parts.validation))

        lost: dict[int, str] = {}
        lost_validation: dict[int, str] = {}

        def fill(chosen: Any, start: float, stop: float, left_out: dict[int, str]) -> PatchStore:
            return load_patch_store(
                chosen,
                self.recipe,
                self.patch,
                self.lesions,
                monitor.part(0.01 * start, 0.01 * stop),
                reach=self.reach,
                left_out=left_out,
            )

        store = fill(samples, 0.0, share, lost)
        if parts.single_image and 0 in lost:
            raise TrainingError(f"The only image cannot be prepared: {lost[0]}")
        count = len(parts.train)
        parts = replace(
            parts,
            train=[sample for n, sample in enumerate(parts.train) if n not in lost],
            healthy=[sample for n, sample in enumerate(parts.healthy, count) if n not in lost],
        )
        if parts.single_image:
            upper, lower = split_image(store[0], self.lesions, least=self.patch)
            rest = [store[number] for number in range(1, len(store))]
            store = PatchStore([upper, *rest], self.lesions, minimum_side=self.patch)
            self.validation_store = PatchStore([lower], self.lesions, minimum_side=self.patch)
        else:
            self.validation_store = fill(parts.validation, share, 1.0, lost_validation)
            held = [s for n, s in enumerate(parts.validation) if n not in lost_validation]
            parts = replace(parts, validation=held)
        self.sampler = self.make_sampler(store, parts)
        self.tiles = sample_validation_tiles(
            self.validation_store,
            self.patch,
            self.options.validation_tiles,
            seed=settings.seed,
            lesion_limit=self.lesion_tile_limit,
        )
        if not any(image.bits.any() for image in self.validation_store):
            names = " or ".join(describe(code).name for code in self.lesions)
            raise TrainingError(
                f"No validation image holds a {names}: raise the validation share, or change "
                "the seed."
            )
        return DataSummary(
            SplitSummary(_facts(store), self.sampler.counts),
            SplitSummary(_facts(self.validation_store), {"tiles": len(self.tiles.weights)}),
            store.nbytes + self.validation_store.nbytes,
            left_out=(*lost.values(), *lost_validation.values()),
            other_views=other_views(self.data, _facts(store)),
        )

    def batch(self, settings: TrainingSettings, key: tuple[int, ...]) -> Any:
        """Return patches, uint8 (B, P, S, S), masks, and the classes that were looked for.

        Unknown parts of the images are ``"unknown"``, uint8 (B, 1, S, S);
        lesions that the masks do not keep apart as ``"objects"``, int32 (B, L, S, S), see
        `drawn_objects.objects_to_label_planes`.
        """
        batch = self.sampler.batch(settings.batch_size, *key)
        tensors = {**_tensors(batch), "annotated": torch.from_numpy(batch.annotated)}
        if batch.unknown is not None:
            tensors["unknown"] = torch.from_numpy(batch.unknown.view(np.uint8))[:, np.newaxis]
        return tensors

    def augment(self, batch: Any) -> Any:
        """Turn, mirror, warp, and change contrast and brightness around the neutral grey."""
        # All maps of pixels are turned and warped as the masks are.
        maps = {name: batch[name] for name in ("masks", "unknown", "objects") if name in batch}
        planes = torch.cat(list(maps.values()), dim=1)
        images, planes = self._augment(normalize_pixels(batch["images"]), planes)
        parts = torch.split(planes, [part.shape[1] for part in maps.values()], dim=1)
        # Of the CPU's generator, which the loop seeds for every step.
        options = self.options
        draw = (2 * torch.rand(2, len(images), 1, 1, 1) - 1).to(images)
        images = images * (1 + options.contrast * draw[0]) + options.brightness * draw[1]
        if options.colour:
            own = (2 * torch.rand(*images.shape[:2], 1, 1) - 1).to(images)
            images = images * (1 + options.colour * own)
        images = images.contiguous(memory_format=torch.channels_last)
        varied = {
            name: part.to(before.dtype)
            for (name, before), part in zip(maps.items(), parts, strict=True)
        }
        return {**batch, **varied, "images": images}

    def patches(self, settings: TrainingSettings) -> Patches:
        """Return patches of the first step, varied, with their masks."""
        chosen = settings.model_copy(update={"batch_size": settings.show_patches})
        batch = self.augment(self.batch(chosen, (settings.seed, 0, 0, 0)))
        levels = denormalize_pixels(batch["images"]).permute(0, 2, 3, 1)
        images = levels.expand(-1, -1, -1, 3).contiguous().numpy()
        # Where classes overlap the first one is shown.
        planes = batch["masks"].numpy() > 0
        masks = np.where(planes.any(axis=1), planes.argmax(axis=1) + 1, 0).astype(np.uint8)
        return Patches(images, masks, self.lesions)

    @property
    def _tiles_per_batch(self) -> int:
        return max(_TILE_PIXELS // self.patch**2, 1)

    def validation_steps(self, settings: TrainingSettings) -> int:
        """Return how many batches hold all tiles."""
        return -(-len(self.tiles.weights) // self._tiles_per_batch)

    def validation_batch(self, settings: TrainingSettings, step: int) -> Any:
        """Return tiles, masks, how much each pixel of each class counts, and objects as a batch."""
        chosen = np.s_[step * self._tiles_per_batch : (step + 1) * self._tiles_per_batch]
        tiles, side = self.tiles, self.patch
        images, rows, cols = tiles.images[chosen], tiles.rows[chosen], tiles.cols[chosen]
        batch = self.validation_store.extract_patches(images, rows, cols, side)
        usable = {image: self.validation_store[image].valid_mask for image in set(images.tolist())}
        inside = np.stack(
            [
                usable[image][row : row + side, col : col + side]
                for image, row, col in zip(images, rows, cols, strict=True)
            ]
        )
        weights = inside * tiles.weights[chosen][:, np.newaxis, np.newaxis]
        known = batch.annotated[:, :, np.newaxis, np.newaxis]
        return {**_tensors(batch), "weights": torch.from_numpy(weights[:, np.newaxis] * known)}

    def validate(self, network: nn.Module, batch: Any) -> Mapping[str, Tensor | float]:
        """Return the pixels above each threshold, class by class."""
        probability = self.probability(network, normalize_pixels(batch["images"]))
        sums: dict[str, Tensor] = {}
        for number, code in enumerate(self.lesions):
            plane = np.s_[:, number]
            found = count_pixels(probability[plane], batch["masks"][plane], batch["weights"][plane])
            sums.update({f"{code}_{name}": value for name, value in found.items()})
        return sums

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Return pixel figures at the working scale, each patch seen once.

        With several classes: their means over those that the validation part has, and each one's.
        """
        by_class: dict[str, dict[str, float]] = {}
        for code in self.lesions:
            own = {n.removeprefix(f"{code}_"): v for n, v in sums.items() if n.startswith(code)}
            metrics = pixel_metrics(own)
            if np.isfinite(metrics["average_precision"]):
                by_class[code] = metrics
        names = list(next(iter(by_class.values()), {}))
        mean = {n: float(np.mean([f[n] for f in by_class.values()])) for n in names}
        if len(self.lesions) == 1:
            return mean
        each = {f"{name}_{code}": f[name] for name in ("aupr",) for code, f in by_class.items()}
        return {**mean, **each}

    def preview(self, network: nn.Module) -> Mapping[str, npt.NDArray[Any]]:
        """Return the surroundings of a lesion of the validation part, and what is found there."""
        tiles = self.tiles
        image = self.validation_store[int(tiles.images[0])]
        height, width = (
            max(min(_PREVIEW_SIDE, n) // _SIDE_MULTIPLE * _SIDE_MULTIPLE, self.patch)
            for n in image.bits.shape
        )
        row = min(max(int(tiles.rows[0]) - height // 2, 0), image.bits.shape[0] - height)
        col = min(max(int(tiles.cols[0]) - width // 2, 0), image.bits.shape[1] - width)
        pixels = np.ascontiguousarray(image.pixels[row : row + height, col : col + width])
        device = next(network.parameters()).device
        planes = normalize_pixels(torch.from_numpy(pixels).permute(2, 0, 1)[np.newaxis].to(device))
        maps = self.probability(network, planes)[0].float().cpu().numpy()
        shown = np.broadcast_to(pixels, (height, width, 3)).copy()
        found = {
            f"{image.id}, {code} found": plane
            for code, plane in zip(self.lesions, maps, strict=True)
        }
        return {image.id: shown, **found}

    def card(self, settings: TrainingSettings) -> ModelCard:
        """Return the card."""
        sources = [self.data, *([self.healthy] if self.healthy is not None else [])]
        return ModelCard(
            name=self._title,
            detector=self.name,
            lesions=self.lesions,
            architecture=self.architecture.model_dump(mode="json"),
            recipe={
                "preprocessing": self.recipe.model_dump(mode="json"),
                "options": self.options.model_dump(mode="json"),
            },
            data="; ".join(dict.fromkeys(s.title for s in sources)),
            data_licence="; ".join(dict.fromkeys(s.licence for s in sources if s.licence)),
            command=self._command,
        )


def _tensors(batch: PatchBatch) -> dict[str, Tensor]:
    tensors = {
        "images": torch.from_numpy(batch.images).permute(0, 3, 1, 2),
        "masks": torch.from_numpy(batch.planes()),
    }
    if batch.objects is not None:
        tensors["objects"] = torch.from_numpy(batch.objects)
    return tensors


def _facts(store: PatchStore) -> list[SampleSummary]:
    return [SampleSummary(i.id, i.group or None, i.lesions, i.content, i.identity) for i in store]
