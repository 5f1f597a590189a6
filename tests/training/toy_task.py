"""A small task that uses all of the training floor; run as a script it trains in a process."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from napari_fundus.checkpoints import ModelCard
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training import (
    CheckpointSaved,
    DataSummary,
    EpochEnd,
    SampleSummary,
    SplitSummary,
    Step,
    Task,
    TrainingSettings,
    train,
)
from napari_fundus.training.losses import dice_coefficient, dice_loss
from napari_fundus.training.patches.augment import Augmentation, AugmentationSettings
from napari_fundus.training.patches.samplers import BalancedSampler
from napari_fundus.training.patches.store import PatchStore, StoredImage, pack_masks

SIZE = 16

SETTINGS = TrainingSettings(
    batch_size=8,
    learning_rate=1e-2,
    max_epochs=3,
    steps_per_epoch=5,
    clip_norm=1.0,
    ema=0.9,
    report_every=1,
    dry_steps=0,
    devices=1,
)


def draw(number: int) -> StoredImage:
    """Return noise with a few bright squares, which are the lesions."""
    rng = np.random.default_rng(number)
    mask = np.zeros((96, 96), np.bool_)
    for row, col in rng.integers(20, 70, (4, 2)):
        mask[row : row + 5, col : col + 5] = True
    pixels = rng.integers(0, 100, (96, 96, 3)) + 120 * mask[..., np.newaxis]
    return StoredImage(
        f"s{number}",
        f"g{number}",
        pixels.astype(np.uint8),
        pack_masks([mask]),
        np.ones_like(mask),
        np.array([True]),
        {"MA": 4},
    )


class Network(nn.Module):
    """Four convolutions with batch norm and dropout, described for the freezing schemes."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(a, 8, 3, padding=1) for a in (3, 8, 8, 8)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(8) for _ in range(4)])
        self.head = nn.Conv2d(8, 1, 1)
        self.convolution_names = tuple(f"convs.{i}" for i in range(4))
        self.norm_names = tuple(f"norms.{i}" for i in range(4))
        self.first_pooling_after, self.last_upsampling_before = 1, 4

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = torch.nn.functional.leaky_relu(norm(conv(x)), 0.1)
            x = torch.nn.functional.dropout(x, 0.1, self.training)
        return torch.sigmoid(self.head(x))


class ToyTask(Task):
    """Finds bright squares."""

    name: ClassVar[str] = "toy"
    best_metric: ClassVar[str] = "dice"
    higher_is_better: ClassVar[bool] = True

    def __init__(self, *, groups: Mapping[str, str | None] | None = None) -> None:
        self.groups = groups or {}
        self.augmentation = Augmentation(AugmentationSettings(gain=0.1, colour=0.1, rotation=5))
        self.epochs_started: list[int] = []

    def prepare(self, settings: TrainingSettings, monitor: Monitor) -> DataSummary:
        self.train = BalancedSampler(PatchStore([draw(n) for n in range(3)], ["MA"]), SIZE)
        self.check = BalancedSampler(PatchStore([draw(9)], ["MA"]), SIZE)

        def facts(sampler: BalancedSampler) -> SplitSummary:
            return SplitSummary(
                [
                    SampleSummary(i.id, self.groups.get(i.id, i.group), i.lesions)
                    for i in sampler.store
                ],
                sampler.counts,
            )

        return DataSummary(facts(self.train), facts(self.check), self.train.store.nbytes)

    def build(self) -> nn.Module:
        return Network()

    def steps_per_epoch(self, settings: TrainingSettings) -> int:
        return 7

    def _batch(self, sampler: BalancedSampler, count: int, *key: int) -> dict[str, Tensor]:
        batch = sampler.batch(count, *key)
        return {
            "images": torch.from_numpy(batch.images).permute(0, 3, 1, 2),
            "masks": torch.from_numpy(batch.planes()),
            "annotated": torch.from_numpy(batch.annotated),
        }

    def batch(self, settings: TrainingSettings, key: tuple[int, ...]) -> Any:
        return self._batch(self.train, settings.batch_size, *key)

    def validation_steps(self, settings: TrainingSettings) -> int:
        return 3

    def validation_batch(self, settings: TrainingSettings, step: int) -> Any:
        return self._batch(self.check, 8, 99, step)

    def augment(self, batch: Any) -> Any:
        images, masks = self.augmentation(batch["images"].float() / 255, batch["masks"])
        return {**batch, "images": images, "masks": masks}

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        return dice_loss(network(batch["images"]), batch["masks"], batch["annotated"])

    def validate(self, network: nn.Module, batch: Any) -> Mapping[str, Tensor | float]:
        found = network(batch["images"].float() / 255)
        return {"dice": dice_coefficient(found, batch["masks"]), "batches": 1}

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        return {"dice": sums["dice"] / sums["batches"], "batches": sums["batches"]}

    def card(self, settings: TrainingSettings) -> ModelCard:
        return ModelCard(name="toy", detector="toy", lesions=("MA",), architecture={"width": 8})

    def start_epoch(self, network: nn.Module, epoch: int) -> None:
        self.epochs_started.append(epoch)

    def preview(self, network: nn.Module) -> Mapping[str, Any]:
        image = torch.from_numpy(draw(9).pixels).permute(2, 0, 1)[None].float() / 255
        return {"s9": network(image)[0, 0].float().numpy()}


def main(folder: str, changes: str) -> None:
    """Train, and print a line for each event; `changes` are fields of the settings as JSON."""
    merged = {
        **SETTINGS.model_dump(),
        **TrainingSettings.model_validate_json(changes).model_dump(exclude_unset=True),
    }
    for event in train(
        ToyTask(), TrainingSettings(**merged), Path(folder), device="cpu", resume=True
    ):
        if isinstance(event, Step):
            print("step", event.epoch, event.step, flush=True)
        elif isinstance(event, CheckpointSaved | EpochEnd):
            print(type(event).__name__, getattr(event, "metrics", ""), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
