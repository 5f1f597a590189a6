"""The network that a checkpoint holds, built as its card describes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from napari_fundus.checkpoints import Checkpoint
from napari_fundus.errors import CheckpointError, FundusError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import nn

A = TypeVar("A", bound=BaseModel)
N = TypeVar("N", bound="nn.Module")


def network_of_card(
    checkpoint: Checkpoint,
    architecture: type[A],
    build: Callable[[A], N],
    *,
    what: str,
    described: Mapping[str, Any] | None = None,
) -> tuple[N, A]:
    """Return the network that `checkpoint` holds, ready for inference, and what it is built from.

    Parameters
    ----------
    checkpoint
        The weights, with their tensors.
    architecture
        Model of what the card describes.
    build
        Makes the network from it.
    what
        What the checkpoint should hold, for the message: ``"a U-Net"``.
    described
        The description, where it is a part of the card's architecture.

    Raises
    ------
    CheckpointError
        The card describes another network than the weights are for, or none that is known.

    Notes
    -----
    Names and shapes are compared with those of a network without memory first: a card of a few
    bytes may describe one of gigabytes. So `build` must not compute with its own parameters.
    """
    # What builders of other packages raise is not documented; this is where all of it is caught.
    try:
        definition = architecture.model_validate(
            checkpoint.card.architecture if described is None else described
        )
        # `assign` looks at the shapes, and copies nothing.
        _without_memory(build, definition).load_state_dict(dict(checkpoint.tensors), assign=True)
        network = build(definition)
        network.load_state_dict(dict(checkpoint.tensors))
    except FundusError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:400]
        raise CheckpointError(
            f"{checkpoint.path} does not hold {what} as its card describes: {reason}"
        ) from error
    return network.eval(), definition


def _without_memory(build: Callable[[A], N], definition: A) -> N:
    """Return the network with parameters that have a shape alone, on torch's device "meta"."""
    import torch
    from torch.overrides import TorchFunctionMode

    fillers = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}

    class WithoutMemory(TorchFunctionMode):
        """Puts tensors that are filled on "meta"; some networks compute with the others."""

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            del types
            kwargs = dict(kwargs or {})
            if func in fillers and kwargs.get("device") is None:
                kwargs["device"] = "meta"
            return func(*args, **kwargs)

    def built(mode: AbstractContextManager[Any]) -> N:
        with mode:
            return build(definition)

    try:
        return built(WithoutMemory())
    except FundusError:
        raise
    except Exception:  # noqa: BLE001 - a few of timm's networks compute with those, too
        return built(torch.device("meta"))


def check_lesions(checkpoint: Checkpoint, outputs: int) -> None:
    """Check that the network has an output for each class that the card names.

    Raises
    ------
    CheckpointError
        It has more or fewer.
    """
    if len(checkpoint.card.lesions) != outputs:
        raise CheckpointError(
            f"{checkpoint.path}: its card names {len(checkpoint.card.lesions)} classes, its "
            f"network gives {outputs} maps."
        )


def check_planes(
    checkpoint: Checkpoint, planes: npt.NDArray[np.float32], expected: int, network: str = "network"
) -> None:
    """Check that the preprocessing gives as many planes as the network takes.

    Raises
    ------
    CheckpointError
        It gives more or fewer.
    """
    if len(planes) != expected:
        raise CheckpointError(
            f"{checkpoint.path}: its {network} takes {expected} planes, its recipe gives "
            f"{len(planes)}. The file's card is wrong; train or get it again."
        )
