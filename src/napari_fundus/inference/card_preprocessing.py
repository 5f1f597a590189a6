"""The preprocessing that weights were trained with, as their card describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from napari_fundus.checkpoints import Checkpoint
from napari_fundus.errors import CheckpointError
from napari_fundus.preprocessing import Recipe


def preprocessing_from_card(
    checkpoint: Checkpoint, recipe: Mapping[str, Any] | None = None
) -> Recipe:
    """Return the preprocessing.

    Parameters
    ----------
    checkpoint
        The weights.
    recipe
        The part of the card's recipe to read it from; the whole of it if left out.

    Raises
    ------
    CheckpointError
        The card does not tell it.
    """
    try:
        recipe = checkpoint.card.recipe if recipe is None else recipe
        return Recipe.model_validate(recipe["preprocessing"])
    except (KeyError, TypeError, ValidationError) as error:
        raise CheckpointError(
            f"{checkpoint.path}: its card holds no preprocessing that this version knows."
        ) from error
