"""From a checkpoint's card to network, preprocessing and temperature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from napari_fundus.backends.cam.architecture import ClassifierArchitecture
from napari_fundus.checkpoints import Checkpoint
from napari_fundus.errors import CheckpointError
from napari_fundus.inference.card_preprocessing import preprocessing_from_card
from napari_fundus.inference.load_network import network_of_card
from napari_fundus.preprocessing import Recipe

if TYPE_CHECKING:
    from torch import nn


def load_architecture(checkpoint: Checkpoint) -> ClassifierArchitecture:
    """Return the definition of the network.

    Raises
    ------
    CheckpointError
        The card holds none that this version knows.
    """
    try:
        return ClassifierArchitecture.model_validate(checkpoint.card.architecture)
    except ValidationError as error:
        raise CheckpointError(
            f"{checkpoint.path}: its card describes no classifier that this version knows."
        ) from error


def load_network(checkpoint: Checkpoint) -> nn.Module:
    """Return the network that `checkpoint` holds, ready for inference.

    Raises
    ------
    CheckpointError
        The card describes another network than the weights are for.
    OptionsError
        The network is of a package that is not installed.
    """
    from napari_fundus.backends.cam.classifiers import build_network

    found = network_of_card(checkpoint, ClassifierArchitecture, build_network, what="a classifier")
    return found[0]


def load_recipe(checkpoint: Checkpoint) -> Recipe:
    """Return the preprocessing that the weights were trained with.

    Raises
    ------
    CheckpointError
        The card does not tell it, or the result would not be a square.
    """
    recipe = preprocessing_from_card(checkpoint)
    if recipe.resize != "side" or not (recipe.square or recipe.crop == "circle"):
        raise CheckpointError(
            f"{checkpoint.path}: the preprocessing on its card does not give squares of one size."
        )
    return recipe


def load_temperature(checkpoint: Checkpoint) -> float:
    """Return what the logits are divided by; 1 where the card holds none.

    Raises
    ------
    CheckpointError
        It is not a number above 0.
    """
    value = checkpoint.card.recipe.get("temperature", 1.0)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e6:
        raise CheckpointError(f"{checkpoint.path}: the temperature on its card is {value!r}.")
    return float(value)
