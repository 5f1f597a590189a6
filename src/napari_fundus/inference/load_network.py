"""The network that a checkpoint holds, built as its card describes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from napari_fundus.checkpoints import Checkpoint
from napari_fundus.errors import CheckpointError

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
    """
    try:
        definition = architecture.model_validate(
            checkpoint.card.architecture if described is None else described
        )
        network = build(definition)
        network.load_state_dict(dict(checkpoint.tensors))
    except (ValidationError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:400]
        raise CheckpointError(
            f"{checkpoint.path} does not hold {what} as its card describes: {reason}"
        ) from error
    return network.eval(), definition


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
