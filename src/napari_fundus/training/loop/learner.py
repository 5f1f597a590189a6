"""The network of a run, its optimizer, and the moving average of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, cast

from napari_fundus.errors import CheckpointError
from napari_fundus.training.loop import state
from napari_fundus.training.loop.freezing import freeze
from napari_fundus.training.loop.settings import TrainingSettings
from napari_fundus.training.loop.task import Task

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from lightning.fabric.wrappers import _FabricModule
    from torch import Tensor, nn
    from torch.optim import Optimizer


class Learner:
    """A network on its device, with all that changes in a step.

    Parameters
    ----------
    network
        With its first weights, on the CPU.
    task
        Whose network it is.
    settings
        Scheme, optimizer and averaging.
    fabric
        Knows device, precision and how many processes there are.

    Attributes
    ----------
    network
        The network itself; :attr:`fabric_module` is what a step is made with.
    parameters, trainable
        Number of weights, and of those that are trained.
    """

    _optimizer: Optimizer

    def __init__(
        self, network: nn.Module, task: Task, settings: TrainingSettings, fabric: Fabric
    ) -> None:
        import torch
        from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

        self._fabric, self._clip_norm = fabric, settings.clip_norm
        freeze(network, settings.scheme)
        if task.channels_last:
            network = network.to(memory_format=torch.channels_last)
        self.network = network
        self.parameters = sum(p.numel() for p in network.parameters())
        self.trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
        self.fabric_module: nn.Module
        if self.trainable:
            self._optimizer = make_optimizer(task, network, settings)
            # The task may keep some weights as they are, whatever the scheme.
            self.trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
            self.fabric_module, self._fabric_optimizer = fabric.setup(network, self._optimizer)
        else:
            self.fabric_module = network.to(fabric.device)
        self._ema = None
        if settings.ema:
            rule = get_ema_multi_avg_fn(settings.ema)  # type: ignore[no-untyped-call]
            self._ema = AveragedModel(network, multi_avg_fn=rule, use_buffers=True)

    @property
    def eval_network(self) -> nn.Module:
        """The network that is validated and saved: the averaged one where there is one."""
        return self.network if self._ema is None else self._ema.module

    @property
    def nbytes(self) -> int:
        """Memory of weights, gradients, what the optimizer gathers, and the average."""
        copies = 1 if self._ema is None else 2
        return 4 * (self.parameters * copies + 3 * self.trainable)

    def set_learning_rate(self, factor: float) -> float:
        """Set each group's learning rate to `factor` times its first; return the first group's."""
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        return float(self._optimizer.param_groups[0]["lr"])

    def gradient_accumulation(self, *, last: bool) -> AbstractContextManager[None]:
        """Return a block for one of a step's batches; other processes wait for the last only."""
        module = cast("_FabricModule", self.fabric_module)
        block: AbstractContextManager[None] = self._fabric.no_backward_sync(
            module, enabled=not last
        )
        return block

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss` to those since the last step."""
        self._fabric.backward(loss)

    def step(self) -> None:
        """Apply the gradients, and set them to 0."""
        if self._clip_norm:
            self._fabric.clip_gradients(
                self.fabric_module,
                self._fabric_optimizer,
                max_norm=self._clip_norm,
                error_if_nonfinite=False,
            )
        self._fabric_optimizer.step()
        self._fabric_optimizer.zero_grad()
        if self._ema is not None:
            self._ema.update_parameters(self.network)

    def state_tensors(self) -> dict[str, Tensor]:
        """Return all tensors that a resumed run needs."""
        tensors: dict[str, Tensor] = {}
        for prefix, values in (
            ("network.", self.network.state_dict()),
            ("average.", self._ema.state_dict() if self._ema is not None else {}),
            ("optimizer.", state.optimizer_tensors(self._optimizer) if self.trainable else {}),
        ):
            tensors.update({prefix + name: value for name, value in values.items()})
        return tensors

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what :meth:`state_tensors` returned."""
        load_weights(self.network, state.select_prefix(tensors, "network."), "last")
        if self._ema is not None:
            self._ema.load_state_dict(state.select_prefix(tensors, "average."))
        if self.trainable:
            state.load_optimizer(self._optimizer, state.select_prefix(tensors, "optimizer."))


def make_optimizer(task: Task, network: nn.Module, settings: TrainingSettings) -> Optimizer:
    """Return the optimizer; each group keeps its first learning rate as ``"initial_lr"``."""
    import torch

    groups = list(task.parameter_groups(network, settings))
    rate, decay = settings.learning_rate, settings.weight_decay
    optimizer: Optimizer
    if settings.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, lr=rate, weight_decay=decay, momentum=settings.momentum)
    else:
        kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
        optimizer = kind(groups, lr=rate, weight_decay=decay)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Load weights into `network`.

    Raises
    ------
    CheckpointError
        They are those of another network.
    """
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise CheckpointError(
            f"The weights {name!r} do not fit the network: {' '.join(str(error).split())[:300]}. "
            "Build it with the architecture of their model card."
        ) from error
