"""The preprocessing that weights were trained with, as their card describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from napari_fundus.checkpoints import Checkpoint
from napari_fundus.errors import CheckpointError
from napari_fundus.preprocessing import Recipe

MAX_CARD_SIDE = 4096
"""Largest side, and diameter of the disc, in pixels, that weights may ask for."""


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
        The card does not tell it, or asks for pictures that are larger than any camera's.
    """
    try:
        recipe = checkpoint.card.recipe if recipe is None else recipe
        found = Recipe.model_validate(recipe["preprocessing"])
    except (KeyError, TypeError, ValidationError) as error:
        raise CheckpointError(
            f"{checkpoint.path}: its card holds no preprocessing that this version knows."
        ) from error
    if max(found.side, found.disc_diameter) > MAX_CARD_SIDE:
        raise CheckpointError(
            f"{checkpoint.path}: its card asks for pictures of "
            f"{max(found.side, found.disc_diameter):g} px; at most {MAX_CARD_SIDE} are made for "
            "weights."
        )
    return found
