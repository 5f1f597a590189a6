"""What a user may set of a voting training, beside the settings that all methods share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_fundus.backends.voting.planes import DEFAULT_RECIPE
from napari_fundus.errors import OptionsError
from napari_fundus.preprocessing import Recipe
from napari_fundus.training.settings import TrainingSettings

__all__ = ["OF_THE_WEIGHTS", "VotingTrainingOptions", "split_settings"]

OF_THE_WEIGHTS = frozenset({"width", "decoder", "patch", "disc_diameter", "channel"})
"""Options that come with the weights where a training starts from some."""


class VotingTrainingOptions(BaseModel):
    """Network, working scale, patches and loss; the defaults are those of the paper."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: Annotated[int, Field(ge=1, le=256)] = Field(
        16, title="Width", description="Channels of the first convolutions; the deepest have four."
    )
    decoder: Literal["paper", "slim"] = Field(
        "paper",
        title="Decoder",
        description=(
            "paper: all convolutions from the 7th on have four times the width; slim: the last two "
            "have two times and once the width, which halves the work."
        ),
    )
    patch: Annotated[int, Field(ge=8, le=512, multiple_of=8)] = Field(
        32,
        title="Patch side",
        description="At the working scale.",
        json_schema_extra={"unit": "px"},
    )
    disc_diameter: Annotated[float, Field(ge=64, le=8192)] = Field(
        DEFAULT_RECIPE.disc_diameter,
        title="Disc diameter",
        description="Working scale: every image is resized so that its disc has this diameter.",
        json_schema_extra={"unit": "px"},
    )
    channel: Literal["green", "rgb"] = Field(
        "green", title="Channels", description="The green plane alone, or all three."
    )
    stride: Annotated[int, Field(ge=1, le=64)] = Field(
        2,
        title="Sampling stride",
        description="Step of the grid that patches are drawn from.",
        json_schema_extra={"unit": "px"},
    )
    positive_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.8, title="Lesion share", description="Share of patches with at least one lesion pixel."
    )
    negatives: Literal["all", "healthy"] = Field(
        "all",
        title="Other patches",
        description="Patches without a lesion come from all images, or from healthy ones only.",
    )
    loss: Literal["dice", "bce_dice"] = Field(
        "dice",
        title="Loss",
        description="dice, as in the paper; bce_dice adds the weighted binary cross-entropy.",
    )
    bce_weight: Annotated[float, Field(ge=0, le=100)] = Field(
        4.0, title="Entropy weight", description="Of the cross-entropy in bce_dice."
    )
    lesion_weight: Annotated[float, Field(gt=0, le=1000)] = Field(
        3.0, title="Lesion weight", description="Of lesion pixels in the cross-entropy."
    )
    contrast: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, title="Contrast", description="Training patches are multiplied by 1 ± this."
    )
    brightness: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, title="Brightness", description="Training patches are shifted by ± this (64 levels)."
    )
    validation_tiles: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        1500,
        title="Validation tiles",
        description=(
            "Tiles without lesion to validate on, beside all with one; those drawn stand for the "
            "others in the figures. 0 takes all."
        ),
    )

    def widths(self) -> tuple[int, ...]:
        """Return the channels of the 14 convolutions."""
        first = (self.width,) * 3 + (2 * self.width,) * 3
        if self.decoder == "paper":
            return first + (4 * self.width,) * 8
        return (*first, *(4 * self.width,) * 6, 2 * self.width, self.width)

    def recipe(self) -> Recipe:
        """Return the preprocessing; its blur keeps its size in relation to the disc."""
        changes = {
            "disc_diameter": self.disc_diameter,
            "sigma": DEFAULT_RECIPE.sigma * self.disc_diameter / DEFAULT_RECIPE.disc_diameter,
            "channel": self.channel,
        }
        return Recipe.model_validate({**DEFAULT_RECIPE.model_dump(), **changes})


def split_settings(
    settings: Mapping[str, Any],
) -> tuple[TrainingSettings, VotingTrainingOptions]:
    """Return the settings of the loop and the options of the method from one mapping.

    Raises
    ------
    OptionsError
        A field is in neither, or its value is out of bounds.
    """
    own, shared = VotingTrainingOptions.model_fields, TrainingSettings.model_fields
    if unknown := [name for name in settings if name not in own and name not in shared]:
        raise OptionsError(
            f"Unknown setting {', '.join(map(repr, unknown))}; there are "
            f"{', '.join([*own, *shared])}."
        )
    try:
        return (
            TrainingSettings.model_validate({n: v for n, v in settings.items() if n in shared}),
            VotingTrainingOptions.model_validate({n: v for n, v in settings.items() if n in own}),
        )
    except ValidationError as error:
        problems = (
            f"Setting {'.'.join(map(str, p['loc']))!r} = {p['input']!r}: {p['msg']}."
            for p in error.errors()
        )
        raise OptionsError(" ".join(problems)) from None
