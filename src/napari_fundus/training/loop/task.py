"""The interface between a method and the training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy.typing as npt

from napari_fundus.checkpoints import ModelCard
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training.loop.events import Patches
from napari_fundus.training.loop.preflight import DataSummary
from napari_fundus.training.loop.settings import TrainingSettings

if TYPE_CHECKING:
    from torch import Tensor, nn


class Task(ABC):
    """Data, network, loss and figures of one method.

    The loop calls :meth:`prepare` and :meth:`build` once, then the others. To make a run
    repeatable, and a resumed one equal to an unbroken one, :meth:`batch` depends on its key alone,
    and random numbers in the other methods come from torch's global generator, which the loop
    seeds for every step.

    Attributes
    ----------
    name
        Of the detector that is trained.
    best_metric, higher_is_better
        Which of the metrics decides on the best epoch, plateau and early stopping.
    channels_last
        Whether the network runs faster with the channels as last axis; batches should then have
        this memory format too.
    """

    name: ClassVar[str]
    best_metric: ClassVar[str] = "loss"
    higher_is_better: ClassVar[bool] = False
    channels_last: ClassVar[bool] = True

    @abstractmethod
    def prepare(self, settings: TrainingSettings, monitor: Monitor) -> DataSummary:
        """Read the data into memory, and return a summary."""

    @abstractmethod
    def build(self) -> nn.Module:
        """Return the network with its initial weights, on the CPU."""

    @abstractmethod
    def steps_per_epoch(self, settings: TrainingSettings) -> int:
        """Return how many steps an epoch has by default."""

    @abstractmethod
    def batch(self, settings: TrainingSettings, key: tuple[int, ...]) -> Any:
        """Return a batch for training: tensors on the CPU in any nesting of dicts and lists.

        Called in background threads. `key` is (seed, epoch, step, number of the batch in the step),
        and the batch is a function of it alone: ``np.random.default_rng(key)`` gives the
        randomness. Which of several processes makes it does not matter.
        """

    @abstractmethod
    def validation_steps(self, settings: TrainingSettings) -> int:
        """Return how many batches the validation has."""

    @abstractmethod
    def validation_batch(self, settings: TrainingSettings, step: int) -> Any:
        """Return a batch for validation, the same in every epoch; called in background threads."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Return the loss to be minimized, a scalar with gradient; `batch` lies on the device."""

    @abstractmethod
    def validate(self, network: nn.Module, batch: Any) -> Mapping[str, Tensor | float]:
        """Return figures of one batch that add up over batches, such as sums and counts."""

    @abstractmethod
    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Return the metrics of an epoch from the summed figures; among them `best_metric`."""

    @abstractmethod
    def card(self, settings: TrainingSettings) -> ModelCard:
        """Return the card; the loop adds split, metrics, settings and parent."""

    def augment(self, batch: Any) -> Any:
        """Return the batch, varied at random, on the device."""
        return batch

    def checkpoint_tensors(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the tensors of the best weights' file: by default `tensors`, those of the network.

        Methods of several networks add those of the others.
        """
        return tensors

    def parameter_groups(
        self, network: nn.Module, settings: TrainingSettings
    ) -> Iterable[dict[str, Any]]:
        """Return the optimizer's groups; one with ``"lr"`` keeps its ratio to the others."""
        return [{"params": [p for p in network.parameters() if p.requires_grad]}]

    def start_epoch(self, network: nn.Module, epoch: int) -> None:  # noqa: B027
        """Prepare an epoch, such as by drawing hard examples again.

        What it changes must be in :meth:`state`, since a resumed epoch is not begun again.
        """

    def state(self) -> Mapping[str, Tensor]:
        """Return what a resumed training needs beyond weights, optimizer and counters."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:  # noqa: B027
        """Restore what :meth:`state` returned."""

    def patches(self, settings: TrainingSettings) -> Patches | None:
        """Return ``settings.show_patches`` patches or images as the network gets them."""
        return None

    def preview(self, network: nn.Module) -> Mapping[str, npt.NDArray[Any]]:
        """Return pictures of the network's present output."""
        return {}
