"""Training of the voting detector: its data, network, loss and figures for the common loop."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_fundus.backends.voting.detector import load_network, load_recipe
from napari_fundus.backends.voting.network import Architecture, PatchNetwork
from napari_fundus.backends.voting.planes import GREY, SPREAD
from napari_fundus.backends.voting.training_data import Parts, divide, fill_store, tiles_of
from napari_fundus.backends.voting.training_options import (
    OF_THE_WEIGHTS,
    VotingTrainingOptions,
    split_settings,
)
from napari_fundus.checkpoints import Checkpoint, ModelCard, load_checkpoint
from napari_fundus.datasets import Dataset, open_dataset
from napari_fundus.errors import CheckpointError, OptionsError, TrainingError
from napari_fundus.lesions import Lesion
from napari_fundus.monitor import Monitor
from napari_fundus.training.augment import Augmentation, AugmentationSettings
from napari_fundus.training.events import TrainingEvent
from napari_fundus.training.loop import train
from napari_fundus.training.losses import bce_dice_loss, dice_loss
from napari_fundus.training.pixel_metrics import pixel_metrics, pixel_sums
from napari_fundus.training.preflight import DataFacts, PartFacts, SampleFacts
from napari_fundus.training.samplers import BalancedSampler
from napari_fundus.training.settings import TrainingSettings
from napari_fundus.training.store import PatchStore
from napari_fundus.training.task import Task

__all__ = ["VotingTask", "train_voting"]

_LONGEST_EPOCH = 1000
_TILE_PIXELS = 1 << 18
"""Pixels of a validation batch."""
_PREVIEW_SIDE = 256


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
    shared, options = split_settings(settings or {})
    initial = load_checkpoint(checkpoint, detector=VotingTask.name) if checkpoint else None
    if initial is None and shared.scheme != "full":
        raise OptionsError(
            f"The scheme {shared.scheme!r} keeps weights as they are: name those to start from "
            "as the checkpoint."
        )
    task = VotingTask(
        data if isinstance(data, Dataset) else open_dataset(data),
        healthy if isinstance(healthy, Dataset) or healthy is None else open_dataset(healthy),
        options=options,
        initial=initial,
        name=name or Path(output).resolve().name,
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


class VotingTask(Task):
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
    best_metric: ClassVar[str] = "average_precision"
    higher_is_better: ClassVar[bool] = True

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
        self.data, self.healthy = data, healthy
        self.options = options or VotingTrainingOptions()
        self._title, self._command = name, command
        self.recipe = self.options.recipe()
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
            self.recipe = load_recipe(initial)
            self.architecture = load_network(initial).architecture
        self._augment = Augmentation(AugmentationSettings())

    @property
    def patch(self) -> int:
        """Side of the patches at the working scale."""
        return self.architecture.patch

    def prepare(self, settings: TrainingSettings, monitor: Monitor) -> DataFacts:
        """Read both parts, prepared, into memory."""
        if self.recipe.standardize:
            raise OptionsError("Weights whose recipe standardizes cannot be trained further here.")
        parts = divide(self.data, self.healthy, settings, self.recipe)
        samples = [*parts.train, *parts.healthy]
        share = 0.01 + 0.98 * len(samples) / (len(samples) + len(parts.validation))
        store = fill_store(samples, self.recipe, self.patch, monitor.part(0.0, 0.01 * share))
        self.checked = fill_store(
            parts.validation, self.recipe, self.patch, monitor.part(0.01 * share, 0.01)
        )
        self.sampler = BalancedSampler(
            store,
            self.patch,
            stride=self.options.stride,
            positive_share=self.options.positive_share,
            negatives_from=self._negatives(parts),
        )
        self.tiles = tiles_of(
            self.checked, self.patch, self.options.validation_tiles, seed=settings.seed
        )
        if not any(image.bits.any() for image in self.checked):
            raise TrainingError(
                "No validation image holds a microaneurysm: raise the validation share, or change "
                "the seed."
            )
        return DataFacts(
            PartFacts(_facts(store), self.sampler.counts),
            PartFacts(_facts(self.checked), {"tiles": len(self.tiles.weights)}),
            store.nbytes + self.checked.nbytes,
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
        return max(min(int(len(self.sampler.positive) / wanted), _LONGEST_EPOCH), 1)

    def batch(self, settings: TrainingSettings, key: tuple[int, ...]) -> Any:
        """Return patches, uint8 (B, P, S, S), and masks."""
        batch = self.sampler.batch(settings.batch_size, *key)
        return {
            "images": torch.from_numpy(batch.images).permute(0, 3, 1, 2),
            "masks": torch.from_numpy(batch.planes()),
        }

    def augment(self, batch: Any) -> Any:
        """Turn, mirror, and change contrast and brightness around the neutral grey."""
        images, masks = self._augment(_as_input(batch["images"]), batch["masks"])
        # Of the CPU's generator, which the loop seeds for every step.
        draw = (2 * torch.rand(2, len(images), 1, 1, 1) - 1).to(images)
        images = images * (1 + self.options.contrast * draw[0]) + self.options.brightness * draw[1]
        return {"images": images.contiguous(memory_format=torch.channels_last), "masks": masks}

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Return the loss over the whole batch."""
        if self.options.loss == "dice":
            return dice_loss(network(batch["images"]), batch["masks"])
        return bce_dice_loss(
            network(batch["images"], as_logits=True),
            batch["masks"],
            bce_weight=self.options.bce_weight,
            positive_weights=[self.options.lesion_weight],
        )

    @property
    def _tiles_at_once(self) -> int:
        return max(_TILE_PIXELS // self.patch**2, 1)

    def validation_steps(self, settings: TrainingSettings) -> int:
        """Return how many batches hold all tiles."""
        return -(-len(self.tiles.weights) // self._tiles_at_once)

    def validation_batch(self, settings: TrainingSettings, step: int) -> Any:
        """Return tiles, masks, and how much each pixel counts."""
        chosen = np.s_[step * self._tiles_at_once : (step + 1) * self._tiles_at_once]
        tiles, side = self.tiles, self.patch
        images, rows, cols = tiles.images[chosen], tiles.rows[chosen], tiles.cols[chosen]
        batch = self.checked.cut(images, rows, cols, side)
        inside = np.stack(
            [
                self.checked[image].field_of_view[row : row + side, col : col + side]
                for image, row, col in zip(images, rows, cols, strict=True)
            ]
        )
        weights = inside * tiles.weights[chosen][:, np.newaxis, np.newaxis]
        return {
            "images": torch.from_numpy(batch.images).permute(0, 3, 1, 2),
            "masks": torch.from_numpy(batch.planes()),
            "weights": torch.from_numpy(weights[:, np.newaxis]),
        }

    def validate(self, network: nn.Module, batch: Any) -> Mapping[str, Tensor | float]:
        """Return the pixels above each threshold."""
        probability = network(_as_input(batch["images"]))
        return pixel_sums(probability, batch["masks"], batch["weights"])

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Return pixel figures at the working scale, with one vote a pixel."""
        return pixel_metrics(sums)

    def preview(self, network: nn.Module) -> Mapping[str, npt.NDArray[Any]]:
        """Return the surroundings of a lesion of the validation part, and what is found there."""
        tiles = self.tiles
        image = self.checked[int(tiles.images[0])]
        height, width = (min(_PREVIEW_SIDE, n) // 8 * 8 for n in image.bits.shape)
        row = min(max(int(tiles.rows[0]) - height // 2, 0), image.bits.shape[0] - height)
        col = min(max(int(tiles.cols[0]) - width // 2, 0), image.bits.shape[1] - width)
        pixels = np.ascontiguousarray(image.pixels[row : row + height, col : col + width])
        place = next(network.parameters()).device
        planes = _as_input(torch.from_numpy(pixels).permute(2, 0, 1)[np.newaxis].to(place))
        found = network(planes)[0, 0].float().cpu().numpy()
        shown = np.broadcast_to(pixels, (height, width, 3)).copy()
        return {image.id: shown, f"{image.id}, found": cast("npt.NDArray[np.float32]", found)}

    def card(self, settings: TrainingSettings) -> ModelCard:
        """Return the card."""
        sources = [self.data, *([self.healthy] if self.healthy is not None else [])]
        return ModelCard(
            name=self._title,
            detector=self.name,
            lesions=(str(Lesion.MA),),
            architecture=self.architecture.model_dump(mode="json"),
            recipe={
                "preprocessing": self.recipe.model_dump(mode="json"),
                "options": self.options.model_dump(mode="json"),
            },
            data="; ".join(dict.fromkeys(s.title for s in sources)),
            data_licence="; ".join(dict.fromkeys(s.licence for s in sources if s.licence)),
            command=self._command,
        )


def _as_input(pixels: Tensor) -> Tensor:
    """Return grey levels in the network's units, as `planes.to_planes` does."""
    return (pixels.float() - GREY) / SPREAD


def _facts(store: PatchStore) -> list[SampleFacts]:
    return [SampleFacts(i.id, i.group or None, i.lesions) for i in store]
