"""The networks in one file of weights: two hypotheses, the refiner, and the one for the ablation.

Each stage is trained by itself, starting from the file of those before it, and the new file holds
them all: tensors are named after their stage, and the card holds each one's network and recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from pydantic import BaseModel

from napari_fundus.checkpoints import Checkpoint
from napari_fundus.errors import OptionsError
from napari_fundus.inference.card_preprocessing import preprocessing_from_card
from napari_fundus.inference.load_network import network_of_card
from napari_fundus.preprocessing import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

    from napari_fundus.backends.multiscale.frrn import FRRN
    from napari_fundus.backends.multiscale.refiner import Refiner

A = TypeVar("A", bound=BaseModel)
N = TypeVar("N", bound="nn.Module")

Stage = Literal["fine", "coarse", "refine", "classify"]
"""A network: on the finer and the coarser scale, the refiner, the one without triplet loss."""

HYPOTHESES: tuple[Stage, ...] = ("fine", "coarse")


def checkpoint_stages(checkpoint: Checkpoint) -> tuple[Stage, ...]:
    """Return the stages that the file holds, in the order of the work."""
    return tuple(stage for stage in get_args(Stage) if stage in checkpoint.card.architecture)


def prefix_tensors(stage: Stage, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a network's tensors under the names that they have in the common file."""
    return {f"{stage}.{name}": value for name, value in tensors.items()}


def stage_checkpoint(checkpoint: Checkpoint, stage: Stage) -> Checkpoint:
    """Return the checkpoint with the tensors of one stage only, under the network's own names."""
    start = f"{stage}."
    tensors = {
        n.removeprefix(start): v for n, v in checkpoint.tensors.items() if n.startswith(start)
    }
    return replace(checkpoint, tensors=tensors)


def stage_recipe(checkpoint: Checkpoint, stage: Stage) -> Recipe:
    """Return the preprocessing that a stage was trained with.

    Raises
    ------
    CheckpointError
        The card does not hold it.
    """
    stages = checkpoint.card.recipe.get("stages")
    recipe = stages.get(stage) if isinstance(stages, dict) else None
    return preprocessing_from_card(checkpoint, recipe or {})


def stage_architecture(checkpoint: Checkpoint, stage: Stage) -> dict[str, Any]:
    """Return the architecture of a stage's network, as on the card.

    Raises
    ------
    OptionsError
        The file has no such stage.
    """
    if stage not in checkpoint.card.architecture:
        raise OptionsError(
            f"The weights {checkpoint.card.name!r} have no stage {stage!r}; they have "
            f"{', '.join(checkpoint_stages(checkpoint)) or 'none'}. Choose another result, or "
            f"train it: napari-fundus train multiscale --set stage={stage} --checkpoint "
            f"{checkpoint.path}."
        )
    architecture: dict[str, Any] = checkpoint.card.architecture[stage]
    return architecture


def load_hypothesis(checkpoint: Checkpoint, stage: Stage) -> FRRN:
    """Return a hypothesis network, ready for inference.

    Raises
    ------
    OptionsError, CheckpointError
        The file has no such stage, or does not hold what its card describes.
    """
    from napari_fundus.backends.multiscale.frrn import FRRN, FRRNArchitecture

    return _load_stage(checkpoint, stage, FRRNArchitecture, FRRN)


def load_refiner(checkpoint: Checkpoint, stage: Stage) -> Refiner:
    """Return a refinement network, ready for inference.

    Raises
    ------
    OptionsError, CheckpointError
        The file has no such stage, or does not hold what its card describes.
    """
    from napari_fundus.backends.multiscale.refiner import Refiner, RefinerArchitecture

    return _load_stage(checkpoint, stage, RefinerArchitecture, Refiner)


def _load_stage(
    checkpoint: Checkpoint, stage: Stage, architecture: type[A], build: Callable[[A], N]
) -> N:
    described = stage_architecture(checkpoint, stage)
    network, _ = network_of_card(
        stage_checkpoint(checkpoint, stage),
        architecture,
        build,
        what=f"the stage {stage!r}",
        described=described,
    )
    return network
