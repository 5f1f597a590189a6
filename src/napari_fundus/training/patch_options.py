"""Options that all methods trained on patches share: scale, variation, validation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from napari_fundus.preprocessing import Recipe

__all__ = ["PatchTrainingOptions"]


class PatchTrainingOptions(BaseModel):
    """Working scale, random variation of the patches, and the tiles to validate on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    disc_diameter: Annotated[float, Field(ge=64, le=8192)] = Field(
        1750.0,
        title="Disc diameter",
        description="Working scale: every image is resized so that its disc has this diameter.",
        json_schema_extra={"unit": "px"},
    )
    channel: Literal["green", "rgb"] = Field(
        "rgb", title="Channels", description="The green plane alone, or all three."
    )
    contrast: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, title="Contrast", description="Training patches are multiplied by 1 ± this."
    )
    brightness: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, title="Brightness", description="Training patches are shifted by ± this (64 levels)."
    )
    colour: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, title="Colour", description="Each plane is multiplied by its own 1 ± this."
    )
    zoom: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, title="Zoom", description="Training patches are enlarged by 1 ± this."
    )
    rotation: Annotated[float, Field(ge=0, le=180)] = Field(
        0.0,
        title="Rotation",
        description="Training patches are rotated by ± this angle, beside quarter turns.",
        json_schema_extra={"unit": "°"},
    )
    validation_tiles: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        1500,
        title="Validation tiles",
        description=(
            "Tiles without lesion to validate on, beside those with one; those drawn stand for the "
            "others in the figures. 0 takes all."
        ),
    )

    def recipe(self) -> Recipe:
        """Return the preprocessing: each plane less its local mean, at the working scale.

        The blur keeps its size in relation to the disc: σ is 30 px at a disc of 1,750 px.
        """
        return Recipe(
            crop="disc",
            resize="disc",
            disc_diameter=self.disc_diameter,
            enhance=True,
            alpha=4,
            beta=-4,
            gamma=128,
            sigma=30 * self.disc_diameter / 1750,
            channel=self.channel,
        )
